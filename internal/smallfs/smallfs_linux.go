// Package smallfs lets a program that is under test run out of room.
package smallfs

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// Mount makes cmd, which is yet to be started, see a file system of size over
// dir, in a mount namespace of its own. The size is tmpfs's, in whole pages, as
// in "64k". The test is skipped where there are no such namespaces.
func Mount(t testing.TB, cmd *exec.Cmd, dir, size string) {
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
	cmd.Args = append([]string{"sh", "-c", `mount -t tmpfs -o size="$0" tmpfs "$1" && shift && exec "$@"`, size, dir}, cmd.Args...)
	cmd.Path = "/bin/sh"
	cmd.SysProcAttr = namespaces
}
