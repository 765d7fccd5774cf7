package qemu

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// memfdCreate is the number of the system call memfd_create, by Go's name of the
// architecture. Package syscall lacks it.
var memfdCreate = map[string]uintptr{"amd64": 319, "arm64": 279}

// MemoryFile returns a file in memory, and a path by which children of this
// process can open it while it is open. It takes no space on a disk and, unlike a
// file in /dev/shm, has no limit but the memory's.
func MemoryFile() (*os.File, string, error) {
	number, ok := memfdCreate[runtime.GOARCH]
	if !ok {
		return nil, "", fmt.Errorf("files in memory are not supported on %s", runtime.GOARCH)
	}
	name := []byte("qemu-ram\x00")
	const closeOnExec = 1 // MFD_CLOEXEC
	fd, _, errno := syscall.Syscall(number, uintptr(unsafe.Pointer(&name[0])), closeOnExec, 0)
	if errno != 0 {
		return nil, "", os.NewSyscallError("memfd_create", errno)
	}
	return os.NewFile(fd, "qemu-ram"), fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), nil
}
