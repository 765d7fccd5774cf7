package vm_test

import (
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/smallfs"
)

// The file system has space for the layer's first tables, but not for the
// guest's writes.
func TestNoRoomForWrites(t *testing.T) {
	i := newInner(t, "never_shown")
	smallfs.Mount(t, i.cmd, i.tmp, "64k")
	i.fails(t,
		"//tests/vm:never_shown: the host has no space left for the guest's writes to disk0: No space left on device",
		"  | sector 1: the base is readable")
}

func TestNoRoomForTheLayer(t *testing.T) {
	i := newInner(t, "never_shown")
	smallfs.Mount(t, i.cmd, i.tmp, "4k")
	i.fails(t, "//tests/vm:never_shown: disk ", "no space left on device")
}

func TestNoRoomForALayersWrites(t *testing.T) {
	i, dir := runLayer(t, nil)
	smallfs.Mount(t, i.cmd, i.tmp, "64k")
	i.fails(t, "//tests/vm:vm: the host has no space left for the guest's writes to disk0: No space left on device")
	checkNoOutputs(t, dir)
}
