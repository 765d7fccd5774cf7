package process

import "syscall"

// attributes put QEMU into a process group of its own, where a signal to ours
// does not end it before its screenshot is taken, and kill it with us.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
