//go:build linux || darwin

package cli

import (
	"io"
	"os"
	"syscall"
)

// inUse reports whether QEMU has the image open. QEMU then locks single bytes
// from 100 and from 200 on, one for each kind of access (block/file-posix.c,
// RAW_LOCK_PERM_BASE and RAW_LOCK_SHARED_BASE).
func inUse(f *os.File) bool { return locked(f, 100, 200) }

// beingWritten reports whether QEMU has the image open for writing. Byte 100 is
// the lock for reading, byte 101 the one for writing.
func beingWritten(f *os.File) bool { return locked(f, 101, 1) }

func locked(f *os.File, start, length int64) bool {
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart, Start: start, Len: length}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &lock); err != nil {
		return false // a file system without locks
	}
	return lock.Type != syscall.F_UNLCK
}
