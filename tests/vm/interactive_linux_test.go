package vm_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"
)

func TestInteractive(t *testing.T) {
	i := newInner(t, "vm")
	runOnTerminal(t, i)
	i.checkClean(t)
}

// A snapshot resumes: the guest answers and has not booted.
func TestInteractiveSnapshot(t *testing.T) {
	i := newInner(t, "answers")
	screen := talkOnTerminal(t, i, "A", "B")
	if strings.Contains(screen, "R") {
		t.Errorf("the guest has booted: %q", screen)
	}
	i.checkClean(t)
}

func TestInteractiveKeep(t *testing.T) {
	i := newInner(t, "vm", "--keep")
	screen := runOnTerminal(t, i)
	match := regexp.MustCompile(`//tests/vm:vm: the guest's writes are kept in (\S+)`).FindStringSubmatch(screen)
	if match == nil {
		t.Fatalf("it does not say where it keeps the guest's writes: %q", screen)
	}
	layer, err := os.ReadFile(filepath.Join(match[1], "disk0.qcow2"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(layer, bytes.Repeat([]byte{'W'}, 512)) {
		t.Error("the layer does not have the guest's write")
	}
	if processes := i.processes(t); len(processes) > 0 {
		t.Errorf("processes are left: %v", processes)
	}
}

// The machine of a boot test runs on a terminal, too.
func TestInteractiveBootTest(t *testing.T) {
	i := newInner(t, "hangs", "--interactive")
	runOnTerminal(t, i)
	i.checkClean(t)
}

// As `bazel run` starts a test: in the background of the terminal.
func TestInteractiveInTheBackground(t *testing.T) {
	i := newInner(t, "hangs", "--interactive")
	i.cmd.Args = append([]string{"sh", "-c", `set -m; "$0" "$@" & wait $!`}, i.cmd.Args...)
	i.cmd.Path = "/bin/sh"
	runOnTerminal(t, i)
	i.checkClean(t)
}

// runOnTerminal runs a machine on a new terminal until the guest has finished,
// leaves it with Ctrl-A X, and returns the terminal's output.
func runOnTerminal(t *testing.T, i *inner) string {
	t.Helper()
	return talkOnTerminal(t, i, "", "sector 2: written")
}

// talkOnTerminal types a text until the guest shows another.
func talkOnTerminal(t *testing.T, i *inner, typed, want string) string {
	t.Helper()
	master, slave := openTerminal(t)
	before := settings(t, slave)
	i.cmd.Stdin, i.cmd.Stdout, i.cmd.Stderr = slave, slave, slave
	i.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	i.cmd.Env = append(i.cmd.Env, "TMPDIR="+i.tmp)
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.cmd.Process.Kill() })

	var mu sync.Mutex
	var screen bytes.Buffer
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			if err != nil {
				return
			}
			mu.Lock()
			screen.Write(b[:n])
			mu.Unlock()
		}
	}()
	shown := func() string {
		mu.Lock()
		defer mu.Unlock()
		return screen.String()
	}
	eventually(t, "the guest's output", func() bool {
		master.WriteString(typed)
		return strings.Contains(shown(), want)
	})
	if settings(t, slave) == before {
		t.Error("the guest does not have the terminal: its settings have not changed")
	}
	if _, err := master.Write([]byte("\x01x")); err != nil {
		t.Fatal(err)
	}
	if err := i.cmd.Wait(); err != nil {
		t.Errorf("the machine ended with %v: %s", err, shown())
	}
	if after := settings(t, slave); after != before {
		t.Errorf("the terminal's settings are %+v, were %+v", after, before)
	}
	// The reader ends when the terminal is closed.
	slave.Close()
	<-closed
	return shown()
}

// The host's port must be known before it can be used.
func TestInteractiveForwardedPort(t *testing.T) {
	i := newInner(t, "forwarding_vm")
	screen := runOnTerminal(t, i)
	if !regexp.MustCompile(`//tests/vm:forwarding_vm: the guest's port tcp:22 is 127\.0\.0\.1:[1-9]\d*`).MatchString(screen) {
		t.Errorf("the forwarded port is not shown: %q", screen)
	}
	i.checkClean(t)
}

func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	var unlock, number int32
	ioctl(t, master, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock))
	ioctl(t, master, syscall.TIOCGPTN, unsafe.Pointer(&number))
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

func settings(t *testing.T, terminal *os.File) syscall.Termios {
	t.Helper()
	var termios syscall.Termios
	ioctl(t, terminal, syscall.TCGETS, unsafe.Pointer(&termios))
	return termios
}

func ioctl(t *testing.T, f *os.File, request uintptr, argument unsafe.Pointer) {
	t.Helper()
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(argument)); errno != 0 {
		t.Fatalf("ioctl %#x: %v", request, errno)
	}
}
