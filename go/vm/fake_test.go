package vm

import (
	"os"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/internal/fakeqemu"
)

func TestMain(m *testing.M) {
	fakeqemu.Main()
	os.Exit(m.Run())
}

// fakeMachine describes a machine that a fake QEMU runs.
func fakeMachine(t *testing.T, behaviour string) *machine.Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &machine.Config{
		Target: "//:fake", QEMU: self, Arch: "x86_64", Machine: "q35", CPUModel: "max", CPUs: 1, Memory: "32M", Accel: "tcg",
		QEMUArgs: fakeqemu.Args(behaviour),
	}
}

// startFake starts a machine that must start, and ends it with the test.
func startFake(t *testing.T, behaviour string, change func(*machine.Config, *Options)) *Machine {
	t.Helper()
	c, o := fakeMachine(t, behaviour), Options{Dir: t.TempDir(), Logs: t.TempDir(), FailOn: DefaultFailOn}
	if change != nil {
		change(c, &o)
	}
	m, err := Start(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// wantWords checks that an error has all words.
func wantWords(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("got error %v, want one with %q", err, word)
		}
	}
}
