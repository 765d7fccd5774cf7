package qcow2test_test

import (
	"os/exec"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2/qcow2test"
)

// In BUILD.bazel the test has data = ["//images:debian"], a qcow2_overlay, and
// "@qemu//:qemu-system-x86_64".
func ExampleDisk() {
	_ = func(t *testing.T) {
		disk := qcow2test.Disk(t, "my_module/images/debian.qcow2")
		// The guest writes to disk. //images:debian stays unchanged.
		err := exec.CommandContext(t.Context(), "qemu-system-x86_64", "-drive", "file="+disk+",if=virtio").Run()
		if err != nil {
			t.Error(err)
		}
	}
}

func ExampleWithSize() {
	_ = func(t *testing.T) {
		// A disk of 40 GiB, whatever the size of the base.
		disk := qcow2test.Disk(t, "my_module/images/debian.qcow2", qcow2test.WithSize(40<<30))
		t.Log(disk)
	}
}

func ExampleWithFormat() {
	_ = func(t *testing.T) {
		// A raw image whose first bytes a guest may have written.
		disk := qcow2test.Disk(t, "my_module/images/data.img", qcow2test.WithFormat("raw"))
		t.Log(disk)
	}
}
