package vm_test

import (
	"encoding/json"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm"
)

const console = "  | sector 2: written"

func TestNeverShown(t *testing.T) {
	t.Parallel()
	i := newInner(t, "never_shown")
	i.fails(t,
		`//tests/vm:never_shown: the console did not show "never" within 15s`,
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
		"//tests/vm:does_not_end: the guest did not end within 15s", console)
}

func TestFailOn(t *testing.T) {
	newInner(t, "fail_on").fails(t,
		`console matched fail_on pattern "sector \\d": "sector 1: the base is readable"`, console)
}

// The defaults of the rules are those of Go tests.
func TestDefaultFailOn(t *testing.T) {
	b, err := os.ReadFile(newInner(t, "never_shown").cmd.Path + ".vm.json")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		FailOn []string `json:"fail_on"`
	}
	if err := json.Unmarshal(b, &config); err != nil || !slices.Equal(config.FailOn, vm.DefaultFailOn) {
		t.Errorf("fail_on is %q, %v; want %q", config.FailOn, err, vm.DefaultFailOn)
	}
}

func TestWrongExitStatus(t *testing.T) {
	newInner(t, "wrong_exit_status").fails(t,
		"//tests/vm:wrong_exit_status: QEMU ended with exit status 33, want exit status 35", console)
}

// A reset, as after a panic with panic=-1, does not count as a power-off.
func TestReset(t *testing.T) {
	newInner(t, "resets").fails(t,
		"//tests/vm:resets: the guest reset the machine, want a power-off")
}

func TestEndsTooEarly(t *testing.T) {
	newInner(t, "ends_too_early").fails(t,
		`//tests/vm:ends_too_early: QEMU ended with exit status 33 before the console showed "never"`, console)
}

func TestBadPattern(t *testing.T) {
	newInner(t, "bad_pattern").fails(t,
		`//tests/vm:bad_pattern: expect: "(" is not a regular expression in Go's syntax: error parsing regexp: missing closing )`)
}

func TestNoImage(t *testing.T) {
	newInner(t, "no_image").fails(t, "//tests/vm:no_image: disk ", "broken.qcow2 cannot be opened: ")
}

// The firmware finds nothing to boot from, long before the time is over.
func TestNoBootLoader(t *testing.T) {
	t.Parallel()
	i := newInner(t, "no_boot_loader")
	i.fails(t, `//tests/vm:no_boot_loader: the firmware found nothing to boot from ("No bootable device."): the machine has no disk with a boot loader for a BIOS; if the disk boots by UEFI, set firmware = "uefi"`,
		"the guest failed, after ", "the console is empty")
	if log := i.output(t, "firmware.log"); !strings.Contains(log, "SeaBIOS") || !strings.Contains(log, "Boot failed") {
		t.Errorf("firmware.log is %q", log)
	}
}

func TestEmptyImage(t *testing.T) {
	newInner(t, "empty_image").fails(t, "//tests/vm:empty_image: disk ", "empty.img: it is empty; ")
}

func TestBadExtraArgument(t *testing.T) {
	newInner(t, "bad_argument").fails(t, "//tests/vm:bad_argument: ", "QEMU ended with exit status 1", "no-such-device")
}

func TestHookFails(t *testing.T) {
	newInner(t, "hook_fails").fails(t, "//tests/vm:hook_fails: run_while_up: fails ended with exit status 7, want exit status 0")
}

func TestEndsBeforeHook(t *testing.T) {
	newInner(t, "ends_before_hook").fails(t, "//tests/vm:ends_before_hook: QEMU ended with exit status 33 before run_while_up was done")
}

func TestKeepWithoutInteractive(t *testing.T) {
	newInner(t, "hangs", "--keep").fails(t, "//tests/vm:hangs: --keep needs --interactive")
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
	// A copy of the target with the path of an image that does not exist.
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
	i.fails(t, "//tests/vm:never_shown: ", "gone.qcow2, a file of the machine, does not exist; ")
}

// signalNames are the signals of the tests as messages name them.
var signalNames = map[syscall.Signal]string{syscall.SIGTERM: "SIGTERM", syscall.SIGINT: "SIGINT"}

func TestSignals(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			i := startHanging(t)
			i.cmd.Process.Signal(signal)
			if err := i.cmd.Wait(); err == nil {
				t.Error("the test passed")
			}
			if signal != syscall.SIGKILL {
				i.checkLog(t, "//tests/vm:hangs: stopped by "+signalNames[signal], console)
				i.checkClean(t)
				return
			}
			// Nothing is left to clean up, but QEMU must end.
			eventually(t, "the end of QEMU", func() bool { return len(i.processes()) == 0 })
		})
	}
}

// A program that hangs must not hang the test, nor outlive it.
func TestRunAfterHangs(t *testing.T) {
	t.Parallel()
	i := newInner(t, "after_hangs")
	i.cmd.Env = append(i.cmd.Env, "TEST_TIMEOUT=20")
	i.fails(t, "//tests/vm:after_hangs: run_after did not end within the test's timeout")
}

func TestRunAfterSignals(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			i := newInner(t, "after_hangs")
			if err := i.cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { i.cmd.Process.Kill() })
			eventually(t, "the start of run_after", func() bool { return strings.Contains(i.log.String(), "run_after: running") })
			i.cmd.Process.Signal(signal)
			if err := i.cmd.Wait(); err == nil {
				t.Error("the test passed")
			}
			i.checkLog(t, "//tests/vm:after_hangs: stopped by "+signalNames[signal])
			i.checkClean(t)
		})
	}
}

// The report comes even if QEMU does not answer any more. TestNewLimits of tools/vmboot
// has the time that is left for it.
func TestQEMUHangs(t *testing.T) {
	t.Parallel()
	i := newInner(t, "hangs")
	i.cmd.Env = append(i.cmd.Env, "TEST_TIMEOUT=20")
	i.start(t)
	for pid := range i.processes() {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Error(err)
		}
	}
	if err := i.cmd.Wait(); err == nil {
		t.Error("the test passed")
	}
	i.checkLog(t, `//tests/vm:hangs: the console did not show "never" within 18s`, "no screenshot: QMP screendump: QEMU did not answer", console)
	i.checkClean(t)
}

// startHanging starts a test whose guest has finished its work and halts.
func startHanging(t *testing.T) *inner {
	t.Helper()
	i := newInner(t, "hangs")
	i.start(t)
	return i
}

// start starts the test, and waits until its guest has written sector 2.
func (i *inner) start(t *testing.T) {
	t.Helper()
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.cmd.Process.Kill() })
	eventually(t, "the guest's output", func() bool {
		log, _ := os.ReadFile(filepath.Join(i.outputs, "console.log"))
		return strings.Contains(string(log), "sector 2: written")
	})
}

// eventually waits for a condition, as long as a test may take.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within 40 s", what)
		}
	}
}
