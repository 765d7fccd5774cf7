package vm

import "syscall"

// ChildAttributes put a child into its own process group, where a signal to
// ours does not reach it, and kill it when this process ends. The child must
// be started by Spawn.
func ChildAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// kill ends QEMU with all processes of its group.
func (p *process) kill() { syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }
