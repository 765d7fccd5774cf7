package vmtest_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/go/vm/vmtest"
	"github.com/rules-qcow2/rules_qcow2/internal/fakeqemu"
)

func TestMain(m *testing.M) {
	fakeqemu.Main()
	os.Exit(m.Run())
}

// The tests below fail. The others run them, each in a process of its own, with the
// name of a machine's behaviour in this variable.
const behaviourVariable = "VMTEST_BEHAVIOUR"

// start starts a machine that a fake QEMU runs, in a test that is to fail.
func start(t *testing.T) *vmtest.Machine {
	t.Helper()
	behaviour := os.Getenv(behaviourVariable)
	if behaviour == "" {
		t.Skip("another test runs this one")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]machine.Config{"machine": {
		Target: "//:machine", QEMU: self, Arch: "x86_64", Machine: "q35", CPUModel: "max", CPUs: 1, Memory: "32M", Accel: "tcg",
		QEMUArgs: fakeqemu.Args(behaviour), Agent: agent(behaviour),
	}})
	target := filepath.Join(t.TempDir(), "machine")
	if err == nil {
		err = os.WriteFile(target+".vm.json", b, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	return vmtest.Start(t, target)
}

// agent returns the Config.Agent of a machine with a behaviour.
func agent(behaviour string) string {
	if strings.Contains(behaviour, "agent") || strings.Contains(behaviour, "commands") {
		return machine.AgentInstalled
	}
	return machine.AgentNone
}

func TestFailsToStart(t *testing.T) { start(t) }

func TestFailsToFork(t *testing.T) {
	m := start(t)
	for _, name := range []string{"one", "two"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m.Fork(t)
		})
	}
}

func TestFailsToForkOther(t *testing.T) { start(t).Fork(t, vmtest.WithMemory("64M")) }

func TestFailsLater(t *testing.T) { start(t).Wait() }

func TestFailsInCommand(t *testing.T) { start(t).Run("the command") }

// fails runs a test that fails, with further arguments for its process, and returns its
// output and the names of the files among its undeclared outputs.
func fails(t *testing.T, name, behaviour string, args ...string) (out string, files map[string]bool) {
	t.Helper()
	outputs := t.TempDir()
	cmd := exec.Command(os.Args[0], append([]string{"-test.run=^" + name + "$", "-test.v"}, args...)...)
	// The test must run in any shard, and TEST_TIMEOUT is that of this test.
	cmd.Env = append(os.Environ(), behaviourVariable+"="+behaviour, "TEST_UNDECLARED_OUTPUTS_DIR="+outputs, "TEST_TOTAL_SHARDS=", "TEST_TIMEOUT=")
	b, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(b), "--- FAIL: "+name) || strings.Contains(string(b), "panic:") {
		t.Fatalf("%s with a machine that %s: %v, want a failure without a panic:\n%s", name, behaviour, err, b)
	}
	paths, err := filepath.Glob(filepath.Join(outputs, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]bool{}
	for _, path := range paths {
		// MkdirTemp adds a number.
		dir := regexp.MustCompile(`\d+$`).ReplaceAllString(filepath.Base(filepath.Dir(path)), "")
		files[dir+"/"+filepath.Base(path)] = true
	}
	return string(b), files
}

func TestStartFails(t *testing.T) {
	out, files := fails(t, "TestFailsToStart", "dies in cont")
	if want := "//:machine: the machine did not start: QEMU ended with exit status 7"; !strings.Contains(out, want) {
		t.Errorf("the log does not say %q:\n%s", want, out)
	}
	if !files["TestFailsToStart_machine_/qemu.log"] || !files["TestFailsToStart_machine_/console.log"] {
		t.Errorf("the logs are not among the outputs: %v", files)
	}
}

// The forks' tests fail, in their own goroutines.
func TestForkFails(t *testing.T) {
	out, files := fails(t, "TestFailsToFork", "does not migrate")
	for _, want := range []string{"--- FAIL: TestFailsToFork/one", "--- FAIL: TestFailsToFork/two", "freeze machine: the migration failed: no"} {
		if !strings.Contains(out, want) {
			t.Errorf("the log does not say %q:\n%s", want, out)
		}
	}
	if !files["TestFailsToFork_machine_/qemu.log"] {
		t.Errorf("the logs are not among the outputs: %v", files)
	}
}

// A fork cannot be another machine.
func TestForkOther(t *testing.T) {
	out, _ := fails(t, "TestFailsToForkOther", "migrates")
	if want := "Fork of machine: a fork has the memory, the processors and the disks"; !strings.Contains(out, want) {
		t.Errorf("the log does not say %q:\n%s", want, out)
	}
}

// A clean-up function of a test can still use the machine.
func TestCleansUp(t *testing.T) {
	m := start(t)
	t.Cleanup(func() {
		if path := m.Screenshot(); path != "" {
			t.Log("the clean-up used the machine")
		}
	})
	t.Error("fails")
}

func TestCleanUp(t *testing.T) {
	if out, _ := fails(t, "TestCleansUp", "runs"); !strings.Contains(out, "the clean-up used the machine") {
		t.Error(out)
	}
}

func TestMachineFails(t *testing.T) {
	out, files := fails(t, "TestFailsLater", "has KVM errors after cont")
	if want := "KVM internal error"; !strings.Contains(out, want) {
		t.Errorf("the log does not say %q:\n%s", want, out)
	}
	if !files["TestFailsLater_machine_/qemu.log"] {
		t.Errorf("the logs are not among the outputs: %v", files)
	}
}

// A command cannot fill the memory of the host.
func TestLongOutput(t *testing.T) {
	out, _ := fails(t, "TestFailsInCommand", "has commands that write without end", "-test.timeout=1m")
	if want := "machine: the command: the standard output is larger than 64 MiB; use VM.Exec with Stdout\n"; !strings.Contains(out, want) {
		t.Errorf("the log does not say %q:\n%s", want, out)
	}
	// Its list of failed units has no end, either.
	if len(out) > 64<<10 {
		t.Errorf("the log has %d bytes", len(out))
	}
}

// A guest that hangs leaves the time for a report: for the end of the command in the
// guest, which does not come, and for QEMU's end.
func TestGuestHangs(t *testing.T) {
	for _, behaviour := range []string{"has an agent that hangs", "has an agent that hangs, does not quit"} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			out, files := fails(t, "TestFailsInCommand", behaviour, "-test.timeout=6s")
			for _, want := range []string{
				"machine: the command: the test's time limit is nearly over (the guest did not end a canceled request within ",
				"  the time ran out, after ",
			} {
				if !strings.Contains(out, want) {
					t.Errorf("the log does not say %q:\n%s", want, out)
				}
			}
			if !files["TestFailsInCommand_machine_/qemu.log"] || !files["TestFailsInCommand_machine_/console.log"] {
				t.Errorf("the logs are not among the outputs: %v", files)
			}
		})
	}
}
