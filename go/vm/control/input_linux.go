package control

import (
	"os"
	"syscall"
	"unsafe"
)

// waitReadable waits until a read of file does not wait, and returns true, or until a
// read of stopped does not, and returns false.
func waitReadable(file, stopped *os.File) bool {
	type pollFD struct { // struct pollfd of poll(2)
		fd      int32
		events  int16
		revents int16
	}
	const pollIn = 1
	fds := [2]pollFD{{fd: descriptor(stopped), events: pollIn}, {fd: descriptor(file), events: pollIn}}
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)), 0, 0, 0, 0)
		switch {
		case errno == syscall.EINTR:
		case errno != 0:
			return true // the read returns the error
		case fds[0].revents != 0:
			return false
		case fds[1].revents != 0:
			return true
		}
	}
}

// descriptor returns the descriptor of a file. Unlike Fd, it does not change whether
// reads wait, for all programs that share the file.
func descriptor(file *os.File) int32 {
	fd := int32(-1) // poll ignores it
	if conn, err := file.SyscallConn(); err == nil {
		conn.Control(func(n uintptr) { fd = int32(n) })
	}
	return fd
}
