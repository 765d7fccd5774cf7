package vm_test

import (
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/smallfs"
)

// The layer has room for its first tables, and none for what the guest writes.
func TestNoRoomForWrites(t *testing.T) {
	i := newInner(t, "never_shown")
	smallfs.Mount(t, i.cmd, i.tmp, "64k")
	i.fails(t,
		"//tests/vm:never_shown: the host has no room for what the guest writes to disk0: No space left on device",
		"  | sector 1: the base is readable")
}

func TestNoRoomForTheLayer(t *testing.T) {
	i := newInner(t, "never_shown")
	smallfs.Mount(t, i.cmd, i.tmp, "4k")
	i.fails(t, "//tests/vm:never_shown: private layer of disk ", "no space left on device")
}
