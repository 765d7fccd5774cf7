package vm_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// The layer has room for its first tables, and none for what the guest writes.
func TestNoRoomForWrites(t *testing.T) {
	i := newInner(t, "never_shown")
	i.limitRoom(t, "64k")
	i.fails(t,
		"//tests/vm:never_shown: the host has no room for what the guest writes to disk0: No space left on device",
		"  | sector 1: the base is readable")
}

func TestNoRoomForTheLayer(t *testing.T) {
	i := newInner(t, "never_shown")
	i.limitRoom(t, "4k")
	i.fails(t, "//tests/vm:never_shown: private layer of disk ", "no space left on device")
}

// limitRoom mounts a file system of that size over the test's temporary folder,
// in a mount namespace of its own.
func (i *inner) limitRoom(t *testing.T, size string) {
	t.Helper()
	namespaces := &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	probe := exec.Command("true")
	probe.SysProcAttr = namespaces
	if err := probe.Run(); err != nil {
		t.Skipf("no mount namespace to be had: %v", err)
	}
	i.cmd.Args = append([]string{"sh", "-c", `mount -t tmpfs -o size="$0" tmpfs "$TEST_TMPDIR" && exec "$@"`, size}, i.cmd.Args...)
	i.cmd.Path = "/bin/sh"
	i.cmd.SysProcAttr = namespaces
}
