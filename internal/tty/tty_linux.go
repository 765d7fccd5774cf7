package qemu

import (
	"os"
	"os/signal"
	"syscall"
	"unsafe"
)

// saveTerminal returns a function that gives a terminal back the settings it
// has now. QEMU does so itself, unless it is killed.
func saveTerminal(f *os.File) func() {
	var settings syscall.Termios
	if ioctl(f, syscall.TCGETS, unsafe.Pointer(&settings)) != nil {
		return func() {}
	}
	return func() { ioctl(f, syscall.TCSETS, unsafe.Pointer(&settings)) }
}

// takeTerminal brings our process group to the foreground of a terminal, and returns a
// function that gives it back. `bazel run` starts tests in the background, where the
// kernel would stop QEMU as soon as it uses the terminal.
func takeTerminal(f *os.File) (giveBack func()) {
	var before int32
	own := int32(syscall.Getpgrp())
	if ioctl(f, syscall.TIOCGPGRP, unsafe.Pointer(&before)) != nil || before == own {
		return func() {}
	}
	bring := func(group int32) {
		// Whoever does this in the background would be stopped by this signal.
		signal.Ignore(syscall.SIGTTOU)
		defer signal.Reset(syscall.SIGTTOU)
		ioctl(f, syscall.TIOCSPGRP, unsafe.Pointer(&group))
	}
	bring(own)
	return func() { bring(before) }
}

func ioctl(f *os.File, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}
