package ends_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm/vmtest"
)

// TestFailing fails in the way that the environment names, while its machine runs.
func TestFailing(t *testing.T) {
	m := vmtest.Start(t, os.Getenv("MACHINE"))
	switch way := os.Getenv("WAY"); way {
	case "command":
		copyProgram(t, m)
		m.Output("/program", "exit", "3")
	case "output":
		copyProgram(t, m)
		m.Output("/program", "zeros")
	case "wait":
		m.WaitFor("true")
	case "expect":
		m.Expect("never")
	case "assertion":
		copyProgram(t, m)
		m.Output("/program", "log", "a line of the guest")
		m.VM.Expect(t.Context(), "a line of the guest")
		t.Error("the assertion failed")
	case "clean-up":
		copyProgram(t, m)
		t.Cleanup(func() { t.Error(m.Output("/program", "echo", "in the clean-up")) })
	case "panic":
		panic("the test panics")
	case "exit":
		os.Exit(3)
	case "hang":
		fmt.Println("the test hangs")
		select {}
	case "crash":
		m.WriteFile("/proc/sysrq-trigger", []byte("c"))
	case "crash unnoticed":
		m.VM.WriteFile(t.Context(), "/proc/sysrq-trigger", []byte("c"), 0)
		<-m.VM.Done()
	default:
		t.Fatalf("WAY is %q", way)
	}
}

// copyProgram copies a program to the guest.
func copyProgram(t *testing.T, m *vmtest.Machine) {
	t.Helper()
	program, err := runfiles.Rlocation(os.Getenv("PROGRAM"))
	if err != nil {
		t.Fatal(err)
	}
	m.CopyTo(program, "/program")
}
