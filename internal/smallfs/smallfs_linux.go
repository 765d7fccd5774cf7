// Package smallfs gives a program under test a small file system, which it can fill.
package smallfs

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/need"
)

// Mount makes cmd, which must not be started yet, run in a new mount namespace with a
// tmpfs at dir. The size is tmpfs's option, such as "64k", in whole pages. Machines that
// do not allow such namespaces skip the test.
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
		need.Skip(t, "cannot create a mount namespace: %v", err)
	}
	cmd.Args = append([]string{"sh", "-c", `mount -t tmpfs -o size="$0" tmpfs "$1" && shift && exec "$@"`, size, dir}, cmd.Args...)
	cmd.Path = "/bin/sh"
	cmd.SysProcAttr = namespaces
}
