// Package qemu runs QEMU: its process, its monitor, and its needs on the host. It knows
// no guests.
package qemu

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/rules-qcow2/rules_qcow2/internal/child"
	"github.com/rules-qcow2/rules_qcow2/internal/tty"
)

// A Command is how to start a QEMU.
type Command struct {
	Program string
	Args    []string
	Env     []string
	Files   []*os.File // inherited as file descriptors from 3 on
	// OnEvent is called with each event of the monitor, in order, by one goroutine.
	OnEvent func(Event)
}

// A Process is a running QEMU. The guest is paused at first, so that no event is missed.
type Process struct {
	Stdout, Stderr *os.File // pipes, which are to be read
	Monitor        *Monitor

	cmd    *exec.Cmd
	conn   net.Conn // of the monitor
	exited chan struct{}
	exit   Exit
}

// An Exit says how QEMU ended.
type Exit struct {
	Status int
	Signal os.Signal // that killed it; nil if none did
	Err    error     // why that is not known
}

// Start starts QEMU. It dies with this process, on Linux.
func Start(c *Command) (*Process, error) {
	p := &Process{exited: make(chan struct{})}
	// Unlike the pipes of package exec, these outlive QEMU until they have been read.
	stdout, err := pipeTo(&p.Stdout)
	if err != nil {
		return nil, err
	}
	defer stdout.Close()
	stderr, err := pipeTo(&p.Stderr)
	if err != nil {
		p.closeOutputs()
		return nil, err
	}
	defer stderr.Close()
	wait, err := p.spawn(c, func(cmd *exec.Cmd) { cmd.Stdout, cmd.Stderr = stdout, stderr })
	if err != nil {
		p.closeOutputs()
		return nil, err
	}
	go func() {
		p.exit = exitOf(p.cmd, wait())
		close(p.exited)
	}()
	return p, nil
}

// spawn starts the process with its monitor.
func (p *Process) spawn(c *Command, prepare func(*exec.Cmd)) (wait func() error, err error) {
	conn, theirs, err := SocketPair(syscall.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	p.conn = conn
	// A socket without a name needs no folder, whose path could be too long for it.
	monitor := []string{"-chardev", fmt.Sprintf("socket,id=qmp,fd=%d", 3+len(c.Files)), "-qmp", "chardev:qmp", "-S"}
	p.cmd = exec.Command(c.Program, append(c.Args[:len(c.Args):len(c.Args)], monitor...)...)
	p.cmd.Env = c.Env
	p.cmd.ExtraFiles = append(c.Files[:len(c.Files):len(c.Files)], theirs)
	p.cmd.SysProcAttr = child.Attributes()
	prepare(p.cmd)
	if wait, err = child.Spawn(p.cmd); err != nil {
		conn.Close()
		return nil, fmt.Errorf("QEMU did not start: %w", err)
	}
	p.Monitor = newMonitor(conn, c.OnEvent)
	return wait, nil
}

// Run runs QEMU on this process's terminal until it ends. It calls started once QEMU
// runs, to let the guest run; with an error, QEMU ends. Signals from the terminal are for
// the guest; other signals to this process end QEMU. The terminal gets its settings back.
func Run(c *Command, started func(*Monitor) error) error {
	defer tty.Take(os.Stdin)()
	// QEMU restores the terminal itself, unless it is killed.
	defer tty.Save(os.Stdin)()
	// Received and dropped: QEMU would inherit the decision to ignore them.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGQUIT)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP)
	p := &Process{}
	wait, err := p.spawn(c, func(cmd *exec.Cmd) {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		// Only the foreground process group may read from a terminal.
		cmd.SysProcAttr.Setpgid = false
	})
	if err != nil {
		return err
	}
	defer p.conn.Close()
	go func() {
		for signal := range signals {
			p.cmd.Process.Signal(signal)
		}
	}()
	failed := started(p.Monitor)
	if failed != nil {
		p.cmd.Process.Signal(syscall.SIGTERM)
	}
	if err := wait(); err != nil {
		return fmt.Errorf("QEMU ended with %w", err)
	}
	return failed
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited returns a channel that closes when QEMU has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Exit returns how QEMU ended, once Exited is closed.
func (p *Process) Exit() Exit { return p.exit }

// Kill ends QEMU, with its children on Linux.
func (p *Process) Kill() { child.Kill(p.cmd) }

// Close closes this process's ends of all connections.
func (p *Process) Close() {
	p.conn.Close()
	p.closeOutputs()
}

func (p *Process) closeOutputs() {
	p.Stdout.Close() // of a nil file, an error
	p.Stderr.Close()
}

// pipeTo sets ours to one end of a pipe, and returns the other end, for a child.
func pipeTo(ours **os.File) (theirs *os.File, err error) {
	*ours, theirs, err = os.Pipe()
	return theirs, err
}

// SocketPair returns one end of a connection for this process and one for QEMU.
func SocketPair(kind int) (net.Conn, *os.File, error) {
	ours, theirs, err := child.SocketPair(kind)
	if err != nil {
		return nil, nil, err
	}
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// exitOf returns how QEMU ended: err is the result of the wait.
func exitOf(cmd *exec.Cmd, err error) Exit {
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return Exit{Err: err}
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return Exit{Signal: status.Signal()}
	}
	return Exit{Status: cmd.ProcessState.ExitCode()}
}
