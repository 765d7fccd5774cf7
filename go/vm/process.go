package vm

import (
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// A process is a running QEMU.
type process struct {
	qmp            net.Conn
	stdout, stderr io.Reader

	cmd  *exec.Cmd
	wait func() error
}

// qmpArgs make QEMU speak QMP on the first file that startQEMU passes to it. A
// socket without a name needs no folder, whose path could be too long for it.
var qmpArgs = []string{"-chardev", "socket,id=qmp,fd=3", "-qmp", "chardev:qmp"}

// firstFD is the first file descriptor of the further files of startQEMU.
const firstFD = 4

// startQEMU starts a program with qmpArgs among its arguments. The program gets
// files as file descriptors from firstFD on. It dies with this process, on Linux.
func startQEMU(program string, args, env []string, files ...*os.File) (*process, error) {
	qmp, theirs, err := socketPair(syscall.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := exec.Command(program, args...)
	cmd.Env = env
	cmd.ExtraFiles = append([]*os.File{theirs}, files...)
	cmd.SysProcAttr = ChildAttributes()
	p := &process{qmp: qmp, cmd: cmd}
	if p.stdout, err = cmd.StdoutPipe(); err == nil {
		p.stderr, err = cmd.StderrPipe()
	}
	if err == nil {
		p.wait, err = Spawn(cmd)
	}
	if err != nil {
		qmp.Close()
		return nil, err
	}
	return p, nil
}

// socketPair returns one end for this process and one for a child.
func socketPair(kind int) (net.Conn, *os.File, error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, kind, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	syscall.CloseOnExec(pair[0])
	syscall.CloseOnExec(pair[1])
	ours, theirs := os.NewFile(uintptr(pair[0]), "socket"), os.NewFile(uintptr(pair[1]), "socket")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
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

// end waits for the end of QEMU, after stdout and stderr have been read.
func (p *process) end() End {
	err := p.wait()
	p.qmp.Close()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		return End{Failure: err}
	}
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return End{Signal: status.Signal()}
	}
	return End{ExitStatus: p.cmd.ProcessState.ExitCode()}
}
