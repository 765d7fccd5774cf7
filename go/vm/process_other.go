//go:build !linux

package vm

import "syscall"

// ChildAttributes leave a child in our process group: if this process is
// killed, Bazel's signal to that group ends the child.
func ChildAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

// kill ends QEMU. Its children are in our own process group, and stay.
func (p *process) kill() { p.cmd.Process.Kill() }
