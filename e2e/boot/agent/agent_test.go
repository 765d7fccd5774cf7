// Package agent_test uses the agent in guests that have little else, and in guests that
// misbehave.
package agent_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
	"github.com/rules-qcow2/rules_qcow2/go/vm/vmtest"
)

// The path of a program in the guest, outside the folders that tests change.
const misbehave = "/dev/shm/misbehave"

func start(t *testing.T, machine string) *vmtest.Machine {
	t.Helper()
	program, err := runfiles.Rlocation(os.Getenv("PROGRAM"))
	if err != nil {
		t.Fatal(err)
	}
	m := vmtest.Start(t, os.Getenv(machine))
	m.CopyTo(program, misbehave)
	return m
}

// wantError checks that an error has all words.
func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("got error %v, want one with %q", err, word)
		}
	}
}

// The ways of the agent into a guest that is a kernel and one program.
func TestWays(t *testing.T) {
	for _, test := range []struct{ machine, pid1, program string }{
		{"VM", "agent", "/rules_qcow2/agent"},
		{"SERIAL_VM", "agent", "/rules_qcow2/agent"},
		{"MICROVM", "agent", "/rules_qcow2/agent"},
		{"INSTALLED_VM", "init", "/agent"},
	} {
		t.Run(test.machine, func(t *testing.T) {
			t.Parallel()
			m := vmtest.Start(t, os.Getenv(test.machine))
			client, err := m.VM.Agent(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if info := client.Info(); !info.Initrd || info.PID1 != test.pid1 || info.Arch != "x86_64" {
				t.Errorf("the guest is %+v", info)
			}
			m.Output(test.program, "-help")
			// If the guest has not mounted devpts, the agent does.
			var shown vm.Tail
			help := vm.Command{Args: []string{test.program, "-help"}, Terminal: &agent.Terminal{Rows: 24, Columns: 80}, Stdout: &shown}
			if result, err := m.VM.Exec(t.Context(), help); err != nil || !result.Success() || !strings.Contains(shown.String(), "-port name\r\n") {
				t.Errorf("on a terminal: %v, %v, %q", result, err, &shown)
			}
			want := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
			if _, err := client.Configure(t.Context(), agent.Configure{Time: want.UnixNano()}); err != nil {
				t.Error(err)
			}
			if got, err := client.Clock(t.Context()); err != nil || got.Before(want) || got.After(want.Add(time.Hour)) {
				t.Errorf("the clock is %v, %v; want %v", got, err, want)
			}
			if _, err := client.Configure(t.Context(), agent.Configure{Seed: "seed"}); err != nil {
				t.Error(err)
			}
			_, err = client.Configure(t.Context(), agent.Configure{Seed: strings.Repeat("s", 513)})
			wantError(t, err, "a seed of 513 bytes is too long, the limit is 512")
			m.PowerOff()
		})
	}
}

// The agent says why it cannot start the guest, also if nobody sees its console.
func TestCannotStart(t *testing.T) {
	m := vmtest.Start(t, os.Getenv("LABEL_VM"))
	_, err := m.VM.Exec(t.Context(), vm.Command{Args: []string{"true"}})
	wantError(t, err, "process 1: root=LABEL=root is not supported without an initrd; use a device such as /dev/vda")
}

// e2e/debian/failures has the other ways of the agent.
func TestNotInstalled(t *testing.T) {
	m := vmtest.Start(t, os.Getenv("NOT_INSTALLED_VM"))
	m.Expect("guest: hanging")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := m.VM.Agent(ctx)
	wantError(t, err, "the agent did not answer: ", `the image must start it (agent = "installed")`, "last lines of the console")
}

func TestLittleGuest(t *testing.T) {
	m := start(t, "VM")
	// The loopback interface is up, and nothing listens.
	_, err := m.VM.Dial(t.Context(), "tcp", "127.0.0.1:80")
	wantError(t, err, "connection refused")

	t.Run("priority", func(t *testing.T) {
		const nice = 18 // the index of the field
		if got := strings.Fields(string(m.ReadFile("/proc/self/stat")))[nice]; got != "-20" {
			t.Errorf("the agent has the nice value %s, want -20", got)
		}
		if got := strings.Fields(m.Output(misbehave, "stat"))[nice]; got != "0" {
			t.Errorf("a command has the nice value %s, want 0", got)
		}
	})
	t.Run("no memory", func(t *testing.T) {
		// The agent outlives commands that use all memory.
		if got := m.ReadFile("/proc/self/oom_score_adj"); string(got) != "-1000\n" {
			t.Errorf("the agent has the score %q for the OOM killer, want -1000", got)
		}
		if got := m.Output(misbehave, "score"); got != "0\n" {
			t.Errorf("a command has the score %q for the OOM killer, want 0", got)
		}
		result, err := m.VM.Exec(t.Context(), vm.Command{Args: []string{misbehave, "eat"}})
		if err != nil || int(result.Signal) != int(syscall.SIGKILL) {
			t.Errorf("a command that uses all memory: %v, %v; want that it is killed", result, err)
		}
		m.Output(misbehave, "count")
	})
	t.Run("no shell", func(t *testing.T) {
		line := vm.Command{Args: []string{"/bin/sh", "-c", "true"}}
		_, err := m.VM.Exec(t.Context(), line)
		wantError(t, err, `run "/bin/sh": no such file or directory`)
		// It does not help to try again.
		wantError(t, m.VM.WaitFor(t.Context(), line, 0), `run "/bin/sh": no such file or directory`)
	})
	t.Run("full disk", func(t *testing.T) {
		// /run has half of the guest's 256 MiB.
		large := filepath.Join(t.TempDir(), "large")
		if err := os.WriteFile(large, []byte(strings.Repeat("x", 200<<20)), 0o600); err != nil {
			t.Fatal(err)
		}
		wantError(t, m.VM.CopyTo(t.Context(), large, "/run/copy"), "/run/copy", "no space left on device")
		wantError(t, m.VM.WriteFile(t.Context(), "/run/file", []byte("text"), 0o600), "/run/file", "no space left on device")
		m.WriteFile("/run/copy", nil)
		m.WriteFile("/run/file", []byte("text"))
		if got := m.ReadFile("/run/file"); string(got) != "text" {
			t.Errorf("the file has %q", got)
		}
	})
	t.Run("read-only root, no /tmp", func(t *testing.T) {
		m.Output(misbehave, "seal")
		wantError(t, m.VM.WriteFile(t.Context(), "/file", nil, 0o600), "/file", "read-only file system")
		dir := t.TempDir()
		wantError(t, m.VM.CopyTo(t.Context(), dir, "/folder"), "/folder", "read-only file system")
		m.CopyTo(dir, "/run/folder")
		m.CopyFrom("/run/folder", filepath.Join(dir, "back"))
		m.Output(misbehave, "count")
	})
	m.PowerOff()
}

// The agent is killed. Nothing starts it again but the next boot.
func TestAgentEnds(t *testing.T) {
	m := start(t, "INSTALLED_VM")
	for _, command := range []string{"kill-parent", "count"} {
		_, err := m.VM.Exec(t.Context(), vm.Command{Args: []string{misbehave, command}})
		wantError(t, err, "the guest closed the connection to its agent")
	}
	m.Reset()
	m.Output("/agent", "-help")
	m.PowerOff()
	wantError(t, m.VM.Screenshot(t.Context(), filepath.Join(t.TempDir(), "screen.png")), "the guest powered off")
	wantError(t, m.VM.Reset(t.Context()), "the guest powered off")
}

// Processes that leave their group and fork as fast as they can die with the command.
func TestForksForever(t *testing.T) {
	m := start(t, "VM")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := m.VM.Exec(ctx, vm.Command{Args: []string{misbehave, "fork"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want the end of the context", err)
	}
	// Killed processes take a moment to end.
	if err := m.VM.WaitFor(t.Context(), vm.Command{Args: []string{misbehave, "count"}}, time.Minute); err != nil {
		t.Error(err)
	}
}

// The guest panics in the middle of a copy, which takes minutes by a serial port.
func TestDiesInCopy(t *testing.T) {
	m := vmtest.Start(t, os.Getenv("SERIAL_VM"), vmtest.WithFailOn()) // a panic resets the machine
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, []byte(strings.Repeat("x", 100<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	copied := make(chan error, 1)
	go func() { copied <- m.VM.CopyTo(t.Context(), large, "/run/copy") }()
	// The copy exists in the guest when a path below it is refused.
	for begun := false; !begun; {
		_, err := m.VM.ReadFile(t.Context(), "/run/copy/file")
		begun = !errors.Is(err, os.ErrNotExist)
	}
	wantError(t, m.VM.WriteFile(t.Context(), "/proc/sysrq-trigger", []byte("c"), 0), "the guest reset the machine")
	wantError(t, <-copied, "the guest reset the machine")
}
