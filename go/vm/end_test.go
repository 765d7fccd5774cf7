package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
)

// closeTimeout is the Options.CloseTimeout of fakes that use all of it.
const closeTimeout = 300 * time.Millisecond

func soon(_ *machine.Config, o *Options) { o.CloseTimeout = closeTimeout }

// A guest that powers off has done so, however QEMU ends after it.
func TestPowerOffIsTheGuests(t *testing.T) {
	for _, behaviour := range []string{"powers off", "powers off, does not quit", "powers off, does not answer quit"} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			m := startFake(t, behaviour, soon)
			end, err := m.Wait(t.Context())
			if err != nil || !end.PoweredOff() || end.String() != "the guest powered off" {
				t.Errorf("got %+v (%v), %v; want a power-off", end, end, err)
			}
		})
	}
}

// Close returns, and ends QEMU with its children.
func TestClose(t *testing.T) {
	for behaviour, survives := range map[string]bool{
		"runs":                     false,
		"runs, does not quit":      false,
		"closes QMP after cont":    false,
		"a child keeps the output": false,
		"a child leaves the group": true,
	} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			m := startFake(t, behaviour, soon)
			child := 0
			if strings.HasPrefix(behaviour, "a child") {
				if err := m.Expect(t.Context(), `child \d+$`); err != nil {
					t.Fatal(err)
				}
				console, err := os.ReadFile(m.ConsoleLog())
				if err != nil {
					t.Fatal(err)
				}
				child, _ = strconv.Atoi(regexp.MustCompile(`\d+`).FindString(string(console)))
			}
			if end := m.Close(); !end.Stopped || end.Failure != nil {
				t.Errorf("got %+v, want that it was stopped", end)
			}
			if err := syscall.Kill(m.process.PID(), 0); !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, syscall.ESRCH) {
				t.Errorf("QEMU still runs: %v", err)
			}
			if child == 0 {
				return
			}
			if survives {
				syscall.Kill(child, syscall.SIGKILL)
				return
			}
			// A killed process takes a moment to end, and until its parent waits for it.
			for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
				stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
				if err != nil || strings.Contains(string(stat), ") Z ") {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("the child still runs: %s", stat)
				}
			}
		})
	}
}

// A QEMU that ends while the machine starts is the error, not what its end broke.
func TestStartFails(t *testing.T) {
	for behaviour, words := range map[string][]string{
		"dies before the greeting": {"the machine did not start: QEMU ended with exit status 7\n", "  | qemu: cannot go on"},
		"dies in qmp_capabilities": {"the machine did not start: QEMU ended with exit status 7\n", "  | qemu: cannot go on"},
		"dies in cont":             {"the machine did not start: QEMU ended with exit status 7\n", "  | qemu: cannot go on"},
		"is killed in cont":        {"the machine did not start: QEMU was killed by signal 9 (killed)\n"},
		"refuses qmp_capabilities": {"the machine did not start: QMP qmp_capabilities: refused\n"},
		"refuses cont":             {"the machine did not start: QMP cont: refused\n"},
		"sends garbage":            {"the machine did not start: QMP qmp_capabilities: QEMU sent something that is not QMP: invalid character 'H'"},
		"closes QMP":               {"the machine did not start: QMP qmp_capabilities: QEMU closed its monitor\n"},
	} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			_, err := Start(t.Context(), fakeMachine(t, behaviour), Options{Dir: t.TempDir(), CloseTimeout: closeTimeout})
			wantWords(t, err, words...)
		})
	}
}

func TestStartTimesOut(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := Start(ctx, fakeMachine(t, "is silent"), Options{Dir: t.TempDir(), CloseTimeout: closeTimeout})
	wantWords(t, err, "the machine did not start: QMP qmp_capabilities: QEMU did not answer: context deadline exceeded", "QEMU did not quit within 300ms and was killed")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is not the end of the context", err)
	}
}

// What ends a machine that runs.
func TestFailures(t *testing.T) {
	for behaviour, want := range map[string]string{
		"dies after cont":           "QEMU ended with exit status 7",
		"sends garbage after cont":  "QEMU sent something that is not QMP: invalid character ']' looking for beginning of value",
		"closes QMP after cont":     "QEMU closed its monitor",
		"has KVM errors after cont": "KVM internal error. Suberror: 1",
		"has no space after cont":   "the host has no space left for the guest's writes to disk0: No space left on device",
	} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			m := startFake(t, behaviour, soon)
			if _, err := m.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := m.End().Err().Error(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
