package cli

import (
	"os"
	"syscall"
)

// lockLikeQEMU takes the locks that QEMU takes on an image it writes to, until f is
// closed. It returns false if QEMU is faster.
func lockLikeQEMU(f *os.File) bool {
	const setOpenFileLock = 37 // F_OFD_SETLK, missing from package syscall
	// Reading, writing and resizing; others must not write or resize.
	for _, offset := range []int64{100, 101, 103, 201, 203} {
		lock := syscall.Flock_t{Type: syscall.F_RDLCK, Start: offset, Len: 1}
		err := syscall.FcntlFlock(f.Fd(), setOpenFileLock, &lock)
		if err == syscall.EAGAIN || err == syscall.EACCES {
			return false
		}
	}
	return true
}
