// Package process starts QEMU and sees to its end.
package process

import (
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// QMPArgs tell QEMU to speak QMP over the file descriptor that Start passes to
// it: a socket without a name needs no folder, and leaves nothing behind.
var QMPArgs = []string{"-chardev", "socket,id=qmp,fd=3", "-qmp", "chardev:qmp"}

// A Process is a running QEMU.
type Process struct {
	QMP            net.Conn
	Stdout, Stderr io.Reader

	cmd *exec.Cmd
}

// Start starts a program that is given QMPArgs among its arguments. It dies
// with the thread that calls Start, where the system knows how.
func Start(program string, args, env []string) (*Process, error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	syscall.CloseOnExec(pair[0])
	syscall.CloseOnExec(pair[1])
	ours, theirs := os.NewFile(uintptr(pair[0]), "QMP"), os.NewFile(uintptr(pair[1]), "QMP")
	defer theirs.Close()
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}

	cmd := exec.Command(program, args...)
	cmd.Env = env
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = attributes()
	p := &Process{QMP: conn, cmd: cmd}
	if p.Stdout, err = cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if p.Stderr, err = cmd.StderrPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, err
	}
	return p, nil
}

// Wait waits for the end, after Stdout and Stderr have been read to theirs,
// and returns the exit status, or the signal that killed the process.
func (p *Process) Wait() (int, os.Signal, error) {
	err := p.cmd.Wait()
	p.QMP.Close()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		return 0, nil, err
	}
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 0, status.Signal(), nil
	}
	return p.cmd.ProcessState.ExitCode(), nil, nil
}

// Kill ends the process without asking.
func (p *Process) Kill() { p.cmd.Process.Kill() }

// QuitTimeout is how long a QEMU that was told to quit may take.
const QuitTimeout = 3 * time.Second
