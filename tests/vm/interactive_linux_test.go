package vm_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/terminal"
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
	if processes := i.processes(); len(processes) > 0 {
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
	i.cmd.Env = append(i.cmd.Env, "TMPDIR="+i.tmp)
	s, err := terminal.Start(i.cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.cmd.Process.Kill() })
	eventually(t, "the guest's output", func() bool {
		s.Type(typed)
		return strings.Contains(s.Screen(), want)
	})
	if changed, err := s.Changed(); err != nil || !changed {
		t.Errorf("the guest does not have the terminal: its settings have not changed: %v", err)
	}
	if err := s.Type("\x01x"); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err != nil {
		t.Errorf("the machine ended with %v: %s", err, s.Screen())
	}
	return s.Screen()
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
