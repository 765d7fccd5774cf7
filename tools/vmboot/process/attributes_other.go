//go:build !linux

package process

import "syscall"

// attributes leave QEMU in our process group: it is Bazel's signal to that
// group which ends it if we are killed.
func attributes() *syscall.SysProcAttr { return nil }
