package commands_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/internal/terminal"
)

// waitScreen waits until a terminal shows a text.
func waitScreen(t *testing.T, s *terminal.Session, text string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !strings.Contains(s.Screen(), text); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the terminal shows %q, want %q", s.Screen(), text)
		}
	}
}

// startOnTerminal runs vm on a terminal of 31 rows and 97 columns.
func startOnTerminal(t *testing.T, cmd *exec.Cmd) *terminal.Session {
	t.Helper()
	cmd.Env = append(cmd.Env, "TERM=some-terminal")
	script := `stty rows 31 cols 97; "$0" "$@"; status=$?; echo "status $status"; exit $status`
	cmd.Args = append([]string{"sh", "-c", script}, append([]string{cmd.Path}, cmd.Args[1:]...)...)
	cmd.Path = "/bin/sh"
	s, err := terminal.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return s
}

// ended checks the exit status, and that the terminal has its settings again.
func ended(t *testing.T, s *terminal.Session, status int) {
	t.Helper()
	err := s.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) && (err != nil || status != 0) || exit != nil && exit.ExitCode() != status {
		t.Errorf("got %v, want exit status %d; the terminal shows %q", err, status, s.Screen())
	}
}

// signalShell sends a signal to vm shell.
func (c *cli) signalShell(signal syscall.Signal) {
	for _, pid := range processesOf(c.t, c.program+"\x00shell") {
		// Not the script above it.
		if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); filepath.Base(exe) == filepath.Base(c.program) {
			syscall.Kill(pid, signal)
		}
	}
}

func TestShell(t *testing.T) {
	c := startCLI(t)
	s := startOnTerminal(t, c.command("shell", "--", "/program", "terminal"))
	waitScreen(t, s, "/dev/pts of user 0 in the foreground: true, some-terminal\r\n31 rows, 97 columns\r\n")
	if changed, err := s.Changed(); err != nil || !changed {
		t.Errorf("the host's terminal is not in raw mode: %v", err)
	}
	if err := s.Resize(12, 345); err != nil {
		t.Fatal(err)
	}
	waitScreen(t, s, "12 rows, 345 columns\r\n")
	c.signalShell(syscall.SIGSTOP)
	if err := s.Restore(); err != nil {
		t.Fatal(err)
	}
	c.signalShell(syscall.SIGCONT)
	for changed := false; !changed; time.Sleep(10 * time.Millisecond) {
		var err error
		if changed, err = s.Changed(); err != nil {
			t.Fatal(err)
		}
	}
	s.Type("\x03")
	// The kernel's echo of it, ^C, comes before or after the answer.
	waitScreen(t, s, "interrupted\r\n")
	waitScreen(t, s, "status 7\r\n")
	ended(t, s, 7)

	// Another user owns the terminal. A later -e replaces TERM. If the program is from a disk
	// cache, only its owner may execute it.
	program, err := os.ReadFile(rlocation(t, "PROGRAM"))
	forAll := filepath.Join(t.TempDir(), "program")
	if err == nil {
		err = os.WriteFile(forAll, program, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.want("", 0, "copy", forAll, ":/for_all")
	s = startOnTerminal(t, c.command("shell", "-u", "42:43", "-e", "TERM=other", "--", "/for_all", "terminal"))
	waitScreen(t, s, "/dev/pts of user 42 in the foreground: true, other\r\n")
	s.Type("\x03")
	ended(t, s, 7)

	// Errors and signals restore the terminal.
	s = startOnTerminal(t, c.command("shell"))
	waitScreen(t, s, `run "/bin/sh": no such file or directory`)
	ended(t, s, 1)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		s = startOnTerminal(t, c.command("shell", "--", "/program", "terminal"))
		waitScreen(t, s, "31 rows, 97 columns")
		c.signalShell(signal)
		waitScreen(t, s, "status ")
		if changed, err := s.Changed(); changed || err != nil {
			t.Errorf("after signal %v, the terminal has other settings: %v", signal, err)
		}
		s.Wait()
	}

	// Without a terminal, it reads standard input.
	cmd := c.command("shell", "--", "/program", "upper")
	cmd.Stdin = strings.NewReader("text\n")
	if out, err := cmd.Output(); err != nil || string(out) != "TEXT\n" {
		t.Errorf("got %q, %v", out, err)
	}
	c.want("", 1, "shell", "--", "/program", "terminal")
	c.fails(`run "/bin/sh": no such file or directory`, 1, "shell")
	c.fails(`user "daemon": /etc/passwd has no "daemon"`, 1, "shell", "-u", "daemon")
}

// As TestShell, in a machine of its own.
func TestExecutableShell(t *testing.T) {
	c := &cli{t: t, program: rlocation(t, "VM")}
	s := startOnTerminal(t, c.command("shell", "-C", "/dev", "--", "/rules_qcow2/agent", "-help"))
	ended(t, s, 0)
	c.want("", 2, "shell", "--", "/rules_qcow2/agent", "-x")
}
