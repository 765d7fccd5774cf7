//go:build linux

// Command agentd runs in a guest and does what the host asks for: it runs commands,
// copies files, makes connections, powers off. It is one static program that needs
// neither a shell nor a network, /tmp or a writable disk.
//
// It has three roles:
//
//   - as process 1, in an initrd in front of the distribution's: see
//     init.go;
//   - with a name that begins with @, by the agent as process 1: it follows the
//     distribution's init to the real root and serves there;
//   - otherwise, by a unit of systemd or by hand: it serves on the port that its
//     options name.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

func main() {
	var err error
	switch {
	case os.Getpid() == 1:
		err = runInit()
	case strings.HasPrefix(os.Args[0], "@"):
		err = runFromInit(os.Args[1:])
	default:
		err = runProgram()
	}
	if err != nil {
		logf("%v", err)
		os.Exit(1)
	}
}

var logPrefix = "rules_qcow2 agent: "

// kernelError begins a line of the kernel's log that the console shows in spite of quiet
// on the kernel's command line.
const kernelError = "<3>"

// logf writes a line to standard error: the console, the kernel's log or the journal.
func logf(format string, args ...any) {
	os.Stderr.WriteString(logPrefix + fmt.Sprintf(format, args...) + "\n")
}

// runProgram serves on a port until that ends for good.
func runProgram() error {
	port := flag.String("port", protocol.PortName, "serve on the virtio-serial port of this `name`; waits until it exists")
	tty := flag.String("tty", "", "serve on this serial `device`, such as /dev/ttyS1, instead of a virtio-serial port")
	fd := flag.Int("fd", -1, "serve on this open file `descriptor` instead, without cgroups, and end with it")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see -help", flag.Arg(0))
	}
	kernel, err := openKernelDirs()
	if err != nil {
		return err
	}
	if *fd >= 0 {
		// For tests on a host, which has use for its cgroups itself.
		kernel.cgroup = noDir
	} else {
		awaitSystemd(kernel)
	}
	a := newAgent(kernel)
	switch {
	case *fd >= 0:
		return a.serve(os.NewFile(uintptr(*fd), "host"))
	case *tty != "":
		a.serveForever(func() (*os.File, error) { return openTTY(*tty) })
	default:
		a.serveForever(func() (*os.File, error) { return a.kernel.openPort(*port) })
	}
	return nil
}

// serveForever opens the channel to the host and serves on it, again and again:
// virtio_console may not be loaded yet, and a port may be unplugged.
func (a *agent) serveForever(open func() (*os.File, error)) {
	var last string
	for {
		f, err := open()
		if err == nil {
			err = a.serve(f)
			f.Close()
		}
		// A missing port is asked for 50 times a second. Say so once.
		if err != nil && err.Error() != last {
			last = err.Error()
			logf("%v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
