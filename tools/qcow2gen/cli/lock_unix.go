//go:build linux || darwin

package cli

import (
	"io"
	"os"
	"syscall"
)

// inUse reports whether QEMU has the image open. It then holds locks on single
// bytes from 100 and from 200 on, one for each kind of access (block/file-posix.c,
// RAW_LOCK_PERM_BASE and RAW_LOCK_SHARED_BASE).
func inUse(f *os.File) bool {
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart, Start: 100, Len: 200}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &lock); err != nil {
		return false // a file system without locks
	}
	return lock.Type != syscall.F_UNLCK
}
