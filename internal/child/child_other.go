//go:build unix && !linux

package child

import (
	"os/exec"
	"syscall"
)

// Attributes leave a child in our process group: if this process is killed, Bazel's
// signal to that group ends the child.
func Attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

// Kill ends a child. Its own children are in our process group, and stay.
func Kill(cmd *exec.Cmd) { cmd.Process.Kill() }
