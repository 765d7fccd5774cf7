package qcow2test_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/smallfs"
)

// outputsVariable holds the directory for kept disks, which is another file
// system in the process of TestKeepsDiskOnOtherFileSystem that sees it.
const outputsVariable = "QCOW2TEST_OUTPUTS"

// TestKeepsDiskOnOtherFileSystem keeps a disk where rename is not possible. The
// file system has room for the data of the disk, but not for its holes.
func TestKeepsDiskOnOtherFileSystem(t *testing.T) {
	outputs := os.Getenv(outputsVariable)
	if outputs == "" {
		outputs = t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), outputsVariable+"="+outputs)
		smallfs.Mount(t, cmd, outputs, "1m")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	if device(t, outputs) == device(t, t.TempDir()) {
		t.Fatal("both directories are on one file system")
	}
	kept, out := runTestFails(t, outputs, "1")
	checkKept(t, kept, out)
	info, err := os.Stat(kept[0])
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() < 2<<20 {
		t.Errorf("the disk is %d bytes long, which is too short to show that holes are kept", info.Size())
	}
}

func device(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return uint64(info.Sys().(*syscall.Stat_t).Dev)
}
