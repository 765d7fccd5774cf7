package network_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm/network"
)

// A machine is a QEMU with a guest that executes the test's commands.
type machine struct {
	t       *testing.T
	port    *network.Port
	in      io.Writer
	console *bufio.Reader
	log     bytes.Buffer // of QEMU
	end     func() error // waits for QEMU
}

// file returns the path of a runfile that the BUILD file passes in a variable.
func file(t *testing.T, variable string) string {
	t.Helper()
	path, err := runfiles.Rlocation(os.Getenv(variable))
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return path
}

// start boots a machine on a port, and waits until it serves its page.
func start(t *testing.T, port *network.Port, nic string, args ...string) *machine {
	t.Helper()
	m := &machine{t: t, port: port}
	cmd := exec.Command(file(t, "QEMU"), append([]string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "q35", "-accel", "tcg", "-m", "256",
		"-kernel", file(t, "KERNEL"),
		"-initrd", file(t, "INITRD"),
		"-append", "console=ttyS0 quiet panic=-1 no_timer_check ip=dhcp",
		"-serial", "stdio",
		"-netdev", "dgram,id=net0,local.type=fd,local.str=3",
		"-device", nic + ",netdev=net0,mac=" + port.MAC().String(),
	}, args...)...)
	cmd.ExtraFiles = []*os.File{port.File()} // descriptor 3
	cmd.Stderr = &m.log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.in, m.console, m.end = in, bufio.NewReader(out), cmd.Wait
	// A guest that does not answer is reported before the test's time is over.
	if deadline, ok := t.Deadline(); ok {
		timer := time.AfterFunc(time.Until(deadline)-15*time.Second, func() { cmd.Process.Kill() })
		t.Cleanup(func() { timer.Stop() })
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	m.want("serving")
	return m
}

// answer returns the guest's next answer.
func (m *machine) answer() string {
	m.t.Helper()
	var console strings.Builder
	for {
		line, err := m.console.ReadString('\n')
		console.WriteString(line)
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "ok: ") || strings.HasPrefix(line, "error: ") {
			return line
		}
		if err != nil {
			m.t.Fatalf("%s: console: %v; it had:\n%s\nQEMU: %s", m.port.Name(), err, &console, &m.log)
		}
	}
}

func (m *machine) want(text string) {
	m.t.Helper()
	if got := m.answer(); got != "ok: "+text {
		m.t.Fatalf("%s: got %q, want %q", m.port.Name(), got, "ok: "+text)
	}
}

// do sends a command to the guest, and returns the answer.
func (m *machine) do(format string, args ...any) string {
	m.t.Helper()
	fmt.Fprintf(m.in, format+"\n", args...)
	return m.answer()
}

// check sends a command that must succeed with this text.
func (m *machine) check(want, format string, args ...any) {
	m.t.Helper()
	if got := m.do(format, args...); got != "ok: "+want {
		m.t.Errorf("%s: %s: got %q, want %q", m.port.Name(), fmt.Sprintf(format, args...), got, "ok: "+want)
	}
}

// fails sends a command that must fail with an error that contains word.
func (m *machine) fails(word, format string, args ...any) {
	m.t.Helper()
	if got := m.do(format, args...); !strings.HasPrefix(got, "error: ") || !strings.Contains(got, word) {
		m.t.Errorf("%s: %s: got %q, want an error with %q", m.port.Name(), fmt.Sprintf(format, args...), got, word)
	}
}

// powerOff ends the machine.
func (m *machine) powerOff() {
	m.t.Helper()
	fmt.Fprintln(m.in, "poweroff")
	if err := m.end(); err != nil {
		m.t.Errorf("%s: QEMU: %v: %s", m.port.Name(), err, &m.log)
	}
}
