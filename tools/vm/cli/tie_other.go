//go:build !linux

package cli

import (
	"os"
	"syscall"
)

// findCaller returns the process that started this one.
func findCaller() (int, error) { return os.Getppid(), nil }

// A tie tells when a process ends.
type tie struct{ pid int }

func newTie(pid int) *tie { return &tie{pid} }

// ended reports whether the process has ended.
func (t *tie) ended() bool { return syscall.Kill(t.pid, 0) != nil }
