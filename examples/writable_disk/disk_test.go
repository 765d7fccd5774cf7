package disk_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/qcow2/qcow2test"
)

func TestWrite(t *testing.T) {
	qemuIO, err := runfiles.Rlocation(os.Getenv("QEMU_IO"))
	if err != nil {
		t.Fatal(err)
	}
	// This test's own disk, which is removed at its end.
	disk := qcow2test.Disk(t, os.Getenv("DISK"))
	out, err := exec.Command(qemuIO, "-f", "qcow2", "-c", "write -P 0x57 1M 64K", "-c", "read -P 0x57 1M 64K", disk).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
