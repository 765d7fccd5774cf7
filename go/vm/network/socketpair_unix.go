//go:build unix

package network

import (
	"os"
	"syscall"

	"github.com/rules-qcow2/rules_qcow2/internal/child"
)

// socketBuffer is the capacity of one direction of a socketpair, in bytes. The
// default of macOS is less than two frames.
const socketBuffer = 1 << 20

// socketpair returns the two ends of a connection that keeps frames apart: the
// switch's, and QEMU's.
func socketpair() (ours, guest *os.File, err error) {
	ours, guest, err = child.SocketPair(syscall.SOCK_DGRAM)
	if err != nil {
		return nil, nil, err
	}
	for _, end := range []*os.File{ours, guest} {
		// Ignore errors: a smaller buffer only loses frames earlier.
		syscall.SetsockoptInt(int(end.Fd()), syscall.SOL_SOCKET, syscall.SO_SNDBUF, socketBuffer)
		syscall.SetsockoptInt(int(end.Fd()), syscall.SOL_SOCKET, syscall.SO_RCVBUF, socketBuffer)
	}
	return ours, guest, nil
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
