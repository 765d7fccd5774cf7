package vm

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// A process is a running QEMU.
type process struct {
	qmp            net.Conn
	stdout, stderr *os.File
	cmd            *exec.Cmd

	exited chan struct{} // closed when QEMU has ended
	result End           // how it ended, once exited is closed
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
	p := &process{qmp: qmp, cmd: cmd, exited: make(chan struct{})}
	// Unlike the pipes of package exec, these outlive QEMU until they have been read.
	stdout, err := pipeTo(&p.stdout)
	if err != nil {
		p.close()
		return nil, err
	}
	defer stdout.Close()
	stderr, err := pipeTo(&p.stderr)
	if err != nil {
		p.close()
		return nil, err
	}
	defer stderr.Close()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	wait, err := Spawn(cmd)
	if err != nil {
		p.close()
		return nil, err
	}
	go func() {
		p.result = endOf(cmd, wait())
		close(p.exited)
	}()
	return p, nil
}

// pipeTo sets ours to one end of a pipe, and returns the other end, for a child.
func pipeTo(ours **os.File) (theirs *os.File, err error) {
	*ours, theirs, err = os.Pipe()
	return theirs, err
}

// close closes this process's ends of all connections.
func (p *process) close() {
	p.qmp.Close()
	p.stdout.Close() // of a nil file, an error
	p.stderr.Close()
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

// endOf returns how QEMU ended: err is the result of the wait.
func endOf(cmd *exec.Cmd, err error) End {
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		return End{Failure: failure{err, ErrHost}}
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return End{Signal: status.Signal()}
	}
	return End{ExitStatus: cmd.ProcessState.ExitCode()}
}
