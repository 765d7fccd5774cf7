package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

// Command is a command to run in the guest, in the manner of os/exec. There is no
// shell, unless Args names one.
type Command struct {
	// Args are the program and its arguments, with any bytes but 0. A program
	// without a slash is looked up in the command's PATH.
	Args []string
	// Env is added to PATH, HOME, USER and LOGNAME, which have the guest's usual
	// values. Later values replace earlier ones.
	Env []string
	// Dir is the working directory; by default the user's home, or / if the guest
	// does not have it.
	Dir string
	// User runs the command: NAME, UID, NAME:GROUP or UID:GID, as in the guest's
	// /etc/passwd and /etc/group. The default is root.
	User string
	// Stdin is the standard input. Without it, the command reads the end at once.
	// Wait does not wait for a Read of it that blocks.
	Stdin io.Reader
	// Stdout and Stderr take the outputs; without them, outputs are discarded. If
	// they are the same writer, only one goroutine at a time calls Write. If a
	// Write fails, the command is killed.
	//
	// They get all that the command wrote, and what processes that it leaves behind
	// write until they close the outputs, or are silent for 1 s, or for 5 s at most.
	// What they write later is discarded. A server with other outputs, as in
	// "server >/dev/null 2>&1 &", costs no such wait.
	Stdout, Stderr io.Writer
	// Terminal gives the command a terminal of its own, whose settings are those of a new
	// one: the command's standard input and both outputs are the terminal. Its output
	// goes to Stdout, with "\r\n" between lines; Stderr gets nothing. The end of Stdin is
	// Ctrl-D, which ends the input of a program that reads lines. Env should have TERM. The
	// default is nil: pipes.
	Terminal *Terminal
	// Shell runs the shell that the guest's /etc/passwd has for User, with Args as its
	// arguments. It is /bin/sh if that shell does not exist or is nologin or false.
	Shell bool
	// TimeLimit kills the command after that time in the guest. 0 means no limit.
	// The context's end kills it as well, and is an error.
	TimeLimit time.Duration
}

// A Terminal is the size of a terminal, in characters: at most 65535 rows and columns. 0
// means that the size is not known.
type Terminal struct{ Rows, Columns int }

// check returns an error if the size is not possible.
func (t Terminal) check() error {
	const limit = 1<<16 - 1
	if t.Rows < 0 || t.Rows > limit || t.Columns < 0 || t.Columns > limit {
		return fmt.Errorf("terminal of %d rows and %d columns: both must be 0 to %d", t.Rows, t.Columns, limit)
	}
	return nil
}

// Result says how a command ended.
type Result struct {
	// ExitStatus is what the command returned, or -1 if a signal ended it.
	ExitStatus int
	// Signal is the signal that ended the command, or 0.
	Signal Signal
	// TimedOut reports that the command was killed at its TimeLimit.
	TimedOut bool
}

// Success reports whether the exit status is 0.
func (r Result) Success() bool { return r.ExitStatus == 0 }

func (r Result) String() string {
	switch {
	case r.TimedOut:
		return "killed at its time limit"
	case r.Signal != 0:
		return "signal " + r.Signal.String()
	}
	return fmt.Sprintf("exit status %d", r.ExitStatus)
}

// Run runs a command and waits for its end. Any exit status is a result, not an
// error. When ctx is done, the agent kills the command with all its descendants,
// and Run returns the context's error.
func (c *Client) Run(ctx context.Context, cmd Command) (Result, error) {
	p, err := c.Start(ctx, cmd)
	if err != nil {
		return Result{}, err
	}
	return p.Wait()
}

// Process is a command that was started.
type Process struct {
	call    *call
	pid     int
	outputs sync.WaitGroup

	mu  sync.Mutex
	err error // the first one of a reader or writer of this side
}

// Start starts a command. The caller must call Wait.
func (c *Client) Start(ctx context.Context, cmd Command) (*Process, error) {
	for _, s := range append(append([]string{cmd.Dir, cmd.User}, cmd.Args...), cmd.Env...) {
		if strings.ContainsRune(s, 0) {
			return nil, fmt.Errorf("command has a zero byte in %.100q", s)
		}
	}
	body := &protocol.Run{
		Args: cmd.Args, Env: cmd.Env, Dir: cmd.Dir, User: cmd.User, Shell: cmd.Shell,
		TimeLimit: int64(cmd.TimeLimit),
		WantStdin: cmd.Stdin != nil, WantStdout: cmd.Stdout != nil, WantStderr: cmd.Stderr != nil,
	}
	if t := cmd.Terminal; t != nil {
		if err := t.check(); err != nil {
			return nil, err
		}
		body.Terminal, body.Rows, body.Columns = true, uint32(t.Rows), uint32(t.Columns)
	}
	k, err := c.open(ctx, protocol.OpRun, body)
	if err != nil {
		return nil, err
	}
	p := &Process{call: k}
	stdout, stderr := cmd.Stdout, cmd.Stderr
	if stdout != nil && sameWriter(stdout, stderr) {
		shared := &sharedWriter{w: stdout}
		stdout, stderr = shared, shared
	}
	p.copyOutput(stdout, protocol.Data, "standard output")
	p.copyOutput(stderr, protocol.Stderr, "standard error")
	pid, started := k.WaitStarted()
	if !started {
		err := k.result(nil)
		p.outputs.Wait()
		if err == nil {
			err = errors.New("the agent ended a command before it started it")
		}
		return nil, err
	}
	p.pid = int(pid)
	if cmd.Stdin != nil {
		go p.copyInput(cmd.Stdin)
	}
	return p, nil
}

// PID returns the process id in the guest. The process leads a session and a
// process group of the same number.
func (p *Process) PID() int { return p.pid }

// Signal sends a signal to the command's process group. SIGKILL reaches all its
// descendants if the guest has cgroup version 2. A command that has ended ignores
// signals.
func (p *Process) Signal(s Signal) error {
	if s < 1 || s > 64 {
		return fmt.Errorf("signal %d must be 1 to 64", int(s))
	}
	return p.call.Signal(uint32(s))
}

// Resize changes the size of the command's terminal. A command without a terminal, or
// that has ended, ignores it.
func (p *Process) Resize(size Terminal) error {
	if err := size.check(); err != nil {
		return err
	}
	return p.call.Resize(uint16(size.Rows), uint16(size.Columns))
}

// Wait waits for the end of the command, and until Stdout and Stderr have all that
// it wrote. It must be called once.
func (p *Process) Wait() (Result, error) {
	var exit protocol.Exit
	err := p.call.result(&exit)
	p.outputs.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	// A failed writer made the agent cancel the command.
	var agentErr *Error
	if p.err != nil && (err == nil || errors.As(err, &agentErr)) {
		err = p.err
	}
	if err != nil {
		return Result{}, err
	}
	r := Result{ExitStatus: int(exit.Status), Signal: Signal(exit.Signal), TimedOut: exit.TimedOut}
	if r.Signal != 0 {
		r.ExitStatus = -1
	}
	return r, nil
}

func (p *Process) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

func (p *Process) copyOutput(w io.Writer, ch protocol.Channel, name string) {
	if w == nil {
		return // the agent sends nothing
	}
	p.outputs.Add(1)
	go func() {
		defer p.outputs.Done()
		buf := make([]byte, protocol.MaxPayload)
		r := p.call.Reader(ch)
		for {
			n, err := r.Read(buf)
			if n > 0 {
				if _, err := w.Write(buf[:n]); err != nil {
					p.fail(fmt.Errorf("write %s of the command: %w", name, err))
					p.call.abort(err)
					return
				}
			}
			if err != nil {
				return // the end, or what the result says
			}
		}
	}()
}

func (p *Process) copyInput(r io.Reader) {
	w := p.call.Writer(protocol.Data)
	buf := make([]byte, protocol.MaxPayload)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return // the command ended without reading all of it
			}
		}
		if err != nil {
			if err != io.EOF {
				p.fail(fmt.Errorf("read standard input for the command: %w", err))
			}
			w.Close()
			return
		}
	}
}

// sharedWriter is one writer for both outputs.
type sharedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *sharedWriter) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(b)
}

// sameWriter reports a == b, false for types that cannot be compared.
func sameWriter(a, b io.Writer) (same bool) {
	defer func() { recover() }()
	return a == b
}
