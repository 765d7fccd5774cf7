package vm_test

import (
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const console = "  | sector 2: written"

func TestNeverShown(t *testing.T) {
	t.Parallel()
	i := newInner(t, "never_shown")
	i.fails(t,
		`//tests/vm:never_shown: the console did not show "never" within 10s`,
		`1 of 2 patterns seen, waiting for "never"`,
		console,
	)
	if log := i.output(t, "console.log"); !strings.Contains(log, "sector 2: written") {
		t.Errorf("console.log is %q", log)
	}
	f, err := os.Open(filepath.Join(i.outputs, "screenshot.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := png.Decode(f); err != nil {
		t.Errorf("screenshot.png: %v", err)
	}
}

func TestDoesNotEnd(t *testing.T) {
	t.Parallel()
	newInner(t, "does_not_end").fails(t,
		"//tests/vm:does_not_end: the guest did not end by itself within 10s", console)
}

func TestFailOn(t *testing.T) {
	newInner(t, "fail_on").fails(t,
		`the console showed what must not be there: "sector 1: the base is readable" (fail_on: "sector \\d")`, console)
}

func TestWrongExitStatus(t *testing.T) {
	newInner(t, "wrong_exit_status").fails(t,
		"//tests/vm:wrong_exit_status: QEMU ended with exit status 33, expected is exit status 35", console)
}

// As after a panic with panic=-1: a reset is no power-off.
func TestReset(t *testing.T) {
	newInner(t, "resets").fails(t,
		"//tests/vm:resets: the guest reset the machine, expected is that the guest powers off")
}

func TestEndsTooEarly(t *testing.T) {
	newInner(t, "ends_too_early").fails(t,
		`//tests/vm:ends_too_early: QEMU ended with exit status 33 before the console showed "never"`, console)
}

func TestBadPattern(t *testing.T) {
	newInner(t, "bad_pattern").fails(t,
		`//tests/vm:bad_pattern: expect: "(" is no regular expression of Go's syntax: error parsing regexp: missing closing )`)
}

func TestNoImage(t *testing.T) {
	newInner(t, "no_image").fails(t, "//tests/vm:no_image: disk ", "broken.qcow2 is no image that can be opened: ")
}

func TestEmptyImage(t *testing.T) {
	newInner(t, "empty_image").fails(t, "//tests/vm:empty_image: disk ", "empty.img is empty")
}

func TestBadExtraArgument(t *testing.T) {
	newInner(t, "bad_argument").fails(t, "//tests/vm:bad_argument: ", "QEMU ended with exit status 1", "no-such-device")
}

func TestHookFails(t *testing.T) {
	newInner(t, "hook_fails").fails(t, "//tests/vm:hook_fails: run_while_up failed: exit status 7")
}

func TestNoFolderForTheLayer(t *testing.T) {
	i := newInner(t, "never_shown")
	if err := os.Remove(i.tmp); err != nil {
		t.Fatal(err)
	}
	i.fails(t, "//tests/vm:never_shown: ", "no such file or directory")
}

func TestMissingFile(t *testing.T) {
	i := newInner(t, "never_shown")
	// A copy whose image is not where its target says.
	config, err := os.ReadFile(i.cmd.Path + ".vm.json")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "copy")
	if err := os.Symlink(i.cmd.Path, program); err != nil {
		t.Fatal(err)
	}
	config = []byte(strings.ReplaceAll(string(config), "/upper.qcow2", "/gone.qcow2"))
	if err := os.WriteFile(program+".vm.json", config, 0o666); err != nil {
		t.Fatal(err)
	}
	i.cmd.Path, i.cmd.Args = program, []string{program}
	i.fails(t, "//tests/vm:never_shown: ", "gone.qcow2 is missing")
}

func TestSignals(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			i := startHanging(t)
			i.cmd.Process.Signal(signal)
			if err := i.cmd.Wait(); err == nil {
				t.Error("the test passed")
			}
			if signal != syscall.SIGKILL {
				i.checkLog(t, "//tests/vm:hangs: terminated by a signal ("+signal.String()+")", console)
				i.checkClean(t)
				return
			}
			// Nobody is left to clean up, but QEMU has to be gone.
			eventually(t, "QEMU to end", func() bool { return len(i.processes(t)) == 0 })
		})
	}
}

// startHanging starts a test whose guest has done all it does.
func startHanging(t *testing.T) *inner {
	t.Helper()
	i := newInner(t, "hangs")
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.cmd.Process.Kill() })
	eventually(t, "the guest", func() bool {
		log, _ := os.ReadFile(filepath.Join(i.outputs, "console.log"))
		return strings.Contains(string(log), "sector 2: written")
	})
	return i
}

// eventually waits, as long as a test may take, for what has to come.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
