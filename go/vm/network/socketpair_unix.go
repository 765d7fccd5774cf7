//go:build unix

package network

import (
	"os"
	"syscall"
)

// socketBuffer is what one direction of a socketpair may hold, in bytes. The
// default of macOS is less than two frames.
const socketBuffer = 1 << 20

// socketpair returns the two ends of a connection that keeps frames apart: the
// switch's, and QEMU's.
func socketpair() (ours, guest *os.File, err error) {
	syscall.ForkLock.RLock()
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
	if err == nil {
		syscall.CloseOnExec(ends[0])
		syscall.CloseOnExec(ends[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	for _, end := range ends {
		// Ignore errors: a smaller buffer only loses frames earlier.
		syscall.SetsockoptInt(end, syscall.SOL_SOCKET, syscall.SO_SNDBUF, socketBuffer)
		syscall.SetsockoptInt(end, syscall.SOL_SOCKET, syscall.SO_RCVBUF, socketBuffer)
	}
	return os.NewFile(uintptr(ends[0]), "switch port"), os.NewFile(uintptr(ends[1]), "guest network"), nil
}

// tryWrite writes a frame, and returns false if it cannot do so at once.
func tryWrite(conn syscall.RawConn, frame []byte) (done bool) {
	err := conn.Write(func(fd uintptr) bool {
		_, err := syscall.Write(int(fd), frame)
		done = err == nil
		return true // do not wait
	})
	return done && err == nil
}
