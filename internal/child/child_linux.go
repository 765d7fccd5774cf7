package child

import (
	"os/exec"
	"syscall"
)

// Attributes put a child into its own process group, where a signal to ours does not
// reach it, and kill it when this process ends. The child must be started by Spawn.
func Attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// Kill ends a child that has Attributes, with all processes of its group.
func Kill(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
