//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

// The agent comes into a guest that boots by a kernel from the host without any
// change to the guest's disk: a cpio archive with the agent precedes the
// distribution's initrd, and the kernel argument rdinit= starts the agent as
// process 1. Linux unpacks both archives into one root.
//
// As process 1 the agent starts itself again as a child and gets out of the way:
// it executes the initrd's own /init. If there is none, it mounts root= and
// executes the init there. Without root= as well, the initrd is the guest,
// and process 1 only collects processes that ended.
//
// The child follows process 1 to the real root. It leaves no trace that /init
// could stumble over: run-init refuses to delete an initrd with something mounted
// in it, so the child gets the kernel's file systems as descriptors of mounts that
// are detached. Its name begins with @, which tells systemd to leave it alone when
// it leaves the initrd (https://systemd.io/ROOT_STORAGE_DAEMONS).
const (
	agentName  = "@rules_qcow2_agent"
	scratchDir = "/.rules_qcow2"
	distroInit = "/init"
)

// Kernel arguments of the agent. A name with a dot in it does not reach /init.
const (
	argTTY  = "rules_qcow2.tty"  // the serial line to the host, such as ttyS1; else virtio-serial
	argRoot = "rules_qcow2.root" // "initrd": serve in the initrd; "real": wait for the real root
)

// The descriptors of the child after its standard files.
const fdDirs = 3

// runInit is process 1.
func runInit() error {
	k, exe, err := detachedDirs()
	if err != nil {
		return fmt.Errorf("process 1: %w", err)
	}
	cmdline, _ := k.proc.read("cmdline")
	args := parseCmdline(cmdline)
	halt := func(err error) error { return halt(k, args[argTTY], err) }
	root := args["root"]
	_, statErr := os.Stat(distroInit)
	hasInit := statErr == nil

	// Follow process 1 if it is going to leave. An initrd that is not told of a
	// root is most likely all there is.
	follow := root != ""
	switch args[argRoot] {
	case "initrd":
		follow = false
	case "real":
		follow = true
	}
	start := func() (int, error) { return startChild(k, exe, follow, args[argTTY]) }

	switch {
	case hasInit:
		if _, err := start(); err != nil {
			logf("start the agent: %v", err)
		}
		return halt(execInit(distroInit, os.Args[1:]))
	case root != "":
		if _, err := start(); err != nil {
			logf("start the agent: %v", err)
		}
		if err := mountRoot(k, args); err != nil {
			return halt(err)
		}
		return halt(execRealInit(args["init"]))
	}
	mountAll()
	return halt(reap(start))
}

// haltDelay is how long process 1 waits for the host before it ends.
const haltDelay = 2 * time.Second

// halt tells the host why process 1 cannot go on, and returns it for the console, which
// may not be one that the host sees. The kernel panics when process 1 ends.
func halt(k kernelDirs, tty string, err error) error {
	err = fmt.Errorf("process 1: %w", err)
	told := make(chan struct{})
	go func() {
		defer close(told)
		if f, openErr := openChannel(k, tty); openErr == nil {
			newAgent(k).refuse(f, err)
		}
	}()
	select {
	case <-told:
	case <-time.After(haltDelay):
	}
	return err
}

// openChannel opens the channel to the host: a serial line, or the virtio-serial port if
// tty is "".
func openChannel(k kernelDirs, tty string) (*os.File, error) {
	if tty != "" {
		return openTTY("/dev/" + strings.TrimPrefix(tty, "/dev/"))
	}
	return k.openPort(protocol.PortName)
}

// detachedDirs mounts the kernel's file systems, opens them, and detaches them. It
// also returns the path of this program.
func detachedDirs() (k kernelDirs, exe string, err error) {
	k = kernelDirs{noDir, noDir, noDir, noDir}
	if err := os.Mkdir(scratchDir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return k, "", err
	}
	defer os.Remove(scratchDir)
	for _, fs := range []struct {
		kind string
		dir  *dir
	}{{"proc", &k.proc}, {"sysfs", &k.sys}, {"devtmpfs", &k.dev}, {"cgroup2", &k.cgroup}} {
		if err := syscall.Mount(fs.kind, scratchDir, fs.kind, 0, ""); err != nil {
			if fs.kind == "cgroup2" {
				continue // the agent can do without
			}
			return k, "", fmt.Errorf("mount %s: %w", fs.kind, err)
		}
		*fs.dir, err = openDir(scratchDir)
		if fs.kind == "proc" && err == nil {
			exe, err = os.Readlink(scratchDir + "/self/exe")
		}
		if unmountErr := syscall.Unmount(scratchDir, syscall.MNT_DETACH); err == nil {
			err = unmountErr
		}
		if err != nil {
			return k, "", err
		}
	}
	return k, exe, nil
}

// startChild starts the agent that serves. os.StartProcess could do that, too, but
// os/exec could not: it wants /dev/null.
func startChild(k kernelDirs, exe string, follow bool, tty string) (pid int, err error) {
	null, err := k.dev.open("null", syscall.O_RDWR)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	log, err := k.dev.open("kmsg", syscall.O_WRONLY)
	if err != nil {
		log = null
	} else {
		defer log.Close()
	}
	argv := []string{agentName, "tty=" + tty}
	if follow {
		argv = append(argv, "follow")
	}
	files := []uintptr{null.Fd(), log.Fd(), log.Fd(), uintptr(k.proc), uintptr(k.sys), uintptr(k.dev)}
	if k.cgroup != noDir {
		files = append(files, uintptr(k.cgroup))
	}
	// A child inherits the priority of the thread that starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	setPriority(agentPriority)
	defer setPriority(0)
	return syscall.ForkExec(exe, argv, &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{protocol.AgentEnv},
		Files: files,
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
}

// runFromInit is the child of process 1.
func runFromInit(args []string) error {
	logPrefix = kernelError + logPrefix
	k := kernelDirs{proc: fdDirs, sys: fdDirs + 1, dev: fdDirs + 2, cgroup: fdDirs + 3}
	var st syscall.Stat_t
	if syscall.Fstat(int(k.cgroup), &st) != nil || st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		k.cgroup = noDir
	}
	for _, d := range []dir{k.proc, k.sys, k.dev, k.cgroup} {
		if d != noDir {
			syscall.CloseOnExec(int(d))
		}
	}
	tty := ""
	a := newAgent(k)
	for _, arg := range args {
		if name, ok := strings.CutPrefix(arg, "tty="); ok {
			tty = name
		} else if arg == "follow" {
			if err := followRoot(k.proc); err != nil {
				return err
			}
			awaitSystemd(k)
		}
	}
	modprobe := time.Now()
	a.serveForever(func() (*os.File, error) {
		f, err := openChannel(k, tty)
		if err != nil && tty == "" && !time.Now().Before(modprobe) {
			// A driver that is a module would be loaded late by udev, if at all.
			loadDrivers()
			modprobe = time.Now().Add(5 * time.Second)
		}
		return f, err
	})
	return nil
}

// oPath is O_PATH, which package syscall lacks.
const oPath = 0x200000

// followRoot waits until the root of process 1 is another file system than the
// initrd, and process 1 has become the init there. It makes that root the agent's.
func followRoot(proc dir) error {
	var initrd syscall.Stat_t
	if err := syscall.Stat("/", &initrd); err != nil {
		return err
	}
	for {
		root, err := newRoot(proc, "1", initrd.Dev)
		if err != nil {
			return fmt.Errorf("root of process 1: %w", err)
		}
		if root >= 0 {
			defer syscall.Close(root)
			if err := syscall.Fchdir(root); err != nil {
				return err
			}
			return syscall.Chroot(".")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// newRoot opens the root of a process if it and the process's program are on another
// file system than the initrd. Otherwise it returns -1.
//
// While a thread that does not lead its process executes a program, as a Go program's
// threads do, the links of the process may lead to the thread that ends: ENOENT then
// means that the process is not there yet.
func newRoot(proc dir, pid string, initrd uint64) (fd int, err error) {
	for _, link := range []string{"/exe", "/root"} {
		fd, err = syscall.Openat(int(proc), pid+link, oPath|syscall.O_CLOEXEC, 0)
		if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESRCH) {
			return -1, nil
		}
		if err != nil {
			return -1, err
		}
		var st syscall.Stat_t
		if err := syscall.Fstat(fd, &st); err != nil || st.Dev == initrd {
			syscall.Close(fd)
			return -1, err
		}
		if link == "/exe" {
			syscall.Close(fd)
		}
	}
	return fd, nil
}

// loadDrivers loads the drivers of a virtio-serial port.
func loadDrivers() {
	for _, module := range []string{"virtio_pci", "virtio_mmio", "virtio_console"} {
		runModprobe(module)
	}
}

// runModprobe runs the guest's modprobe. A guest without it has the drivers in its
// kernel, or none.
func runModprobe(module string) {
	modprobe, err := lookPath("modprobe", []string{"PATH=" + defaultPath})
	if err != nil {
		return
	}
	p, err := os.StartProcess(modprobe, []string{"modprobe", "-q", module}, &os.ProcAttr{
		Env:   []string{"PATH=" + defaultPath},
		Files: []*os.File{os.Stdin, os.Stderr, os.Stderr},
	})
	if err == nil {
		p.Wait()
	}
}

// parseCmdline returns the kernel's arguments. Later ones win, as in the kernel.
func parseCmdline(line string) map[string]string {
	args := make(map[string]string)
	for _, arg := range strings.Fields(line) {
		key, value, _ := strings.Cut(arg, "=")
		args[key] = value
	}
	return args
}

// execInit becomes another init. It returns only errors.
func execInit(path string, args []string) error {
	err := syscall.Exec(path, append([]string{path}, args...), os.Environ())
	return fmt.Errorf("execute %s: %w", path, err)
}
