// Package tty uses the terminal of this process.
package tty

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"unsafe"
)

// Save returns a function that gives a terminal back the settings it has now. It does
// nothing if f is not a terminal.
func Save(f *os.File) (restore func()) {
	settings, err := getSettings(f)
	if err != nil {
		return func() {}
	}
	return func() { set(f, settings) }
}

// Take brings our process group to the foreground of a terminal, and returns a
// function that gives it back. `bazel run` starts tests in the background, where the
// kernel would stop a process as soon as it uses the terminal.
func Take(f *os.File) (giveBack func()) {
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

// A Terminal is the terminal that a program uses.
type Terminal struct{ f *os.File }

// Open returns the terminal of a standard input and a standard output, or nil if they are
// not both a terminal.
func Open(in, out *os.File) *Terminal {
	for _, f := range []*os.File{in, out} {
		if _, err := getSettings(f); err != nil {
			return nil
		}
	}
	return &Terminal{in}
}

// Size returns the size in characters, 0 if it is not known.
func (t *Terminal) Size() (rows, columns int) {
	var size struct{ rows, columns, x, y uint16 }
	ioctl(t.f, syscall.TIOCGWINSZ, unsafe.Pointer(&size))
	return int(size.rows), int(size.columns)
}

// Raw makes the terminal pass every key to its reader, and change nothing in the output.
// resized is called, by one goroutine, with each change of the size. The caller calls restore,
// which gives the terminal back its settings. That also happens before SIGQUIT ends this
// process; the caller must handle other signals that would end it.
func (t *Terminal) Raw(resized func(rows, columns int)) (restore func(), err error) {
	giveBack := Take(t.f)
	before, err := getSettings(t.f)
	if err != nil {
		giveBack()
		return nil, err
	}
	raw := before // as cfmakeraw does
	raw.Iflag &^= syscall.IGNBRK | syscall.BRKINT | syscall.PARMRK | syscall.ISTRIP | syscall.INLCR | syscall.IGNCR | syscall.ICRNL | syscall.IXON
	raw.Oflag &^= syscall.OPOST
	raw.Lflag &^= syscall.ECHO | syscall.ECHONL | syscall.ICANON | syscall.ISIG | syscall.IEXTEN
	raw.Cflag = raw.Cflag&^(syscall.CSIZE|syscall.PARENB) | syscall.CS8
	raw.Cc[syscall.VMIN], raw.Cc[syscall.VTIME] = 1, 0
	if err := set(t.f, raw); err != nil {
		giveBack()
		return nil, err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGWINCH, syscall.SIGCONT, syscall.SIGQUIT)
	done := make(chan struct{})
	restore = sync.OnceFunc(func() {
		signal.Stop(signals)
		close(done)
		set(t.f, before)
		giveBack()
	})
	go func() {
		for {
			select {
			case <-done:
				return
			case s := <-signals:
				switch s {
				case syscall.SIGWINCH:
					resized(t.Size())
				case syscall.SIGCONT: // the shell that stopped this process has changed them
					set(t.f, raw)
				case syscall.SIGQUIT:
					restore()
					syscall.Kill(os.Getpid(), syscall.SIGQUIT)
				}
			}
		}
	}()
	return restore, nil
}

func getSettings(f *os.File) (settings syscall.Termios, err error) {
	return settings, ioctl(f, syscall.TCGETS, unsafe.Pointer(&settings))
}

func set(f *os.File, settings syscall.Termios) error {
	return ioctl(f, syscall.TCSETS, unsafe.Pointer(&settings))
}

// ioctl does not use f.Fd, which changes whether reads wait, for all programs that share
// the file.
func ioctl(f *os.File, request uintptr, argument unsafe.Pointer) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := conn.Control(func(fd uintptr) {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(argument)); errno != 0 {
			err = errno
		}
	})
	if controlErr != nil {
		return controlErr
	}
	return err
}
