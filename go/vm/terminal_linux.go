package vm

import (
	"os"
	"syscall"
	"unsafe"
)

// saveTerminal returns a function that gives a terminal back the settings it
// has now. QEMU does so itself, unless it is killed.
func saveTerminal(f *os.File) func() {
	var settings syscall.Termios
	if ioctl(f, syscall.TCGETS, &settings) != nil {
		return func() {}
	}
	return func() { ioctl(f, syscall.TCSETS, &settings) }
}

func ioctl(f *os.File, request uintptr, settings *syscall.Termios) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(settings))); errno != 0 {
		return errno
	}
	return nil
}
