package qcow2test_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2/qcow2test"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// failVariable holds the base of TestFails, which runs in its own process.
const failVariable = "QCOW2TEST_FAIL"

func TestFails(t *testing.T) {
	base := os.Getenv(failVariable)
	if base == "" {
		t.Skip("TestKeepsDiskOfFailedTest runs it")
	}
	disk := qcow2test.Disk(t, base, qcow2test.WithSize(1<<30))
	fmt.Println("disk:", disk)
	for i := range writes {
		io(t, disk, fmt.Sprintf("write -P %d %d 4096", i+1, i*writeDistance))
	}
	t.Error("fails")
}

// The writes of TestFails make the disk more than 2 MiB long, with 160 KiB of
// data and holes of 56 KiB.
const (
	writes        = 40
	writeDistance = 60 << 10
)

// runTestFails runs TestFails with outputs as the directory for undeclared
// outputs. It returns the kept disks and what the test printed.
func runTestFails(t *testing.T, outputs, keep string) (kept []string, out string) {
	t.Helper()
	base := newBase(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestFails$")
	cmd.Env = append(os.Environ(), failVariable+"="+base, qcow2test.KeepVariable+"="+keep, "TEST_UNDECLARED_OUTPUTS_DIR="+outputs)
	printed, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("TestFails passed: %s", printed)
	}
	kept, err = filepath.Glob(filepath.Join(outputs, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return kept, string(printed)
}

// checkKept checks that one disk is kept, that the log names it, and that it
// has the contents which TestFails wrote.
func checkKept(t *testing.T, kept []string, out string) {
	t.Helper()
	if len(kept) != 1 || !strings.Contains(out, "disk is kept as "+kept[0]+",") {
		t.Fatalf("kept are %q, want one disk that the log names: %s", kept, out)
	}
	qemuimg.Must(t, "", "check", kept[0])
	for i := range writes {
		io(t, kept[0], fmt.Sprintf("read -P %d %d 4096", i+1, i*writeDistance))
	}
}

func TestKeepsDiskOfFailedTest(t *testing.T) {
	kept, out := runTestFails(t, t.TempDir(), "1")
	checkKept(t, kept, out)
}

func TestKeepsNoDiskByDefault(t *testing.T) {
	if kept, _ := runTestFails(t, t.TempDir(), ""); len(kept) != 0 {
		t.Errorf("kept are %q, want none", kept)
	}
}
