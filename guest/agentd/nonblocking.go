//go:build linux

package main

import (
	"io"
	"os"
	"syscall"
	"unsafe"
)

// A nonblocking is a file in nonblocking mode, by calls of which Go's scheduler does not
// hear, because they do not wait. It would give the processor to another thread after 20 µs of
// a call, and many take longer in an emulated guest. Only one goroutine may read, and one may
// write.
type nonblocking struct {
	read, write direction
}

// newNonblocking returns f itself if it is not in nonblocking mode.
func newNonblocking(f *os.File) io.ReadWriter {
	conn, err := f.SyscallConn()
	if err != nil {
		return f
	}
	var flags uintptr
	err = conn.Control(func(fd uintptr) { flags, _, _ = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0) })
	if err != nil || flags&syscall.O_NONBLOCK == 0 {
		return f
	}
	n := new(nonblocking)
	n.read.init(syscall.SYS_READ, conn.Read)
	n.write.init(syscall.SYS_WRITE, conn.Write)
	return n
}

// Read implements io.Reader.
func (f *nonblocking) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := f.read.call(p)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Write implements io.Writer.
func (f *nonblocking) Write(p []byte) (done int, err error) {
	for done < len(p) && err == nil {
		var n int
		n, err = f.write.call(p[done:])
		done += n
	}
	return done, err
}

// A direction is reading or writing.
type direction struct {
	wait func(func(fd uintptr) bool) error // of syscall.RawConn
	try  func(fd uintptr) bool             // made once, for the next three
	p    []byte
	n    int
	err  error
}

func (d *direction) init(trap uintptr, wait func(func(fd uintptr) bool) error) {
	d.wait = wait
	d.try = func(fd uintptr) bool {
		for {
			n, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(&d.p[0])), uintptr(len(d.p)))
			d.n, d.err = int(n), nil
			if errno != 0 {
				d.n, d.err = 0, errno
			}
			if errno != syscall.EINTR {
				return errno != syscall.EAGAIN
			}
		}
	}
}

// call reads to p or writes from p, as much as is possible at once.
func (d *direction) call(p []byte) (int, error) {
	d.p = p
	err := d.wait(d.try)
	d.p = nil
	if err != nil {
		return 0, err
	}
	return d.n, d.err
}
