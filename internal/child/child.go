//go:build unix

// Package child starts processes that end with this one, and connects them to it.
package child

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// SocketPair returns a connection of Unix sockets without a name: one end for this
// process and one for a child.
func SocketPair(kind int) (ours, theirs *os.File, err error) {
	syscall.ForkLock.RLock()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, kind, 0)
	if err == nil {
		syscall.CloseOnExec(pair[0])
		syscall.CloseOnExec(pair[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(pair[0]), "socket"), os.NewFile(uintptr(pair[1]), "socket of a child"), nil
}

// Spawn starts a command and returns a function that waits for its end.
// Linux sends a parent death signal when the thread that started the child
// ends, so the thread is kept until then.
func Spawn(cmd *exec.Cmd) (wait func() error, err error) {
	started, ended := make(chan error), make(chan error, 1)
	waiting := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		// Wait closes the pipes to the command: they must have been read.
		<-waiting
		ended <- cmd.Wait()
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return func() error {
		close(waiting)
		return <-ended
	}, nil
}
