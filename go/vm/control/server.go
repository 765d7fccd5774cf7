package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
)

// maxSocketPath bounds the path of a Unix socket: 108 bytes on Linux, 104 on
// macOS, with the final zero.
const maxSocketPath = 103

// A Server answers requests for one machine.
type Server struct {
	// Socket is the path of the server's socket.
	Socket string
	// Shell has the directory, the user and the variables of a Request.Shell that does not
	// set them. It must not change after Listen.
	Shell vm.Command

	dir      string
	listener *net.UnixListener
	machine  *vm.Machine
	ctx      context.Context
	cancel   context.CancelCauseFunc
	requests sync.WaitGroup
}

// Listen starts a server for a machine, at a socket in a new folder. Only the
// user of this process may open it.
func Listen(m *vm.Machine) (*Server, error) {
	dir, err := os.MkdirTemp("", "vm")
	if err != nil {
		return nil, err
	}
	if len(filepath.Join(dir, socketName)) > maxSocketPath {
		// The temporary folder of a test is too deep for a socket of other programs.
		os.Remove(dir)
		if dir, err = os.MkdirTemp("/tmp", "vm"); err != nil {
			return nil, err
		}
	}
	return listen(m, dir, vm.Command{})
}

// ListenIn is Listen with a folder for the socket, which Close removes, and with
// Server.Shell. On Linux, its path may be longer than that of a socket.
func ListenIn(m *vm.Machine, dir string, shell vm.Command) (*Server, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	return listen(m, dir, shell)
}

const socketName = "socket"

func listen(m *vm.Machine, dir string, shell vm.Command) (*Server, error) {
	s := &Server{Socket: filepath.Join(dir, socketName), Shell: shell, dir: dir, machine: m}
	err := withShortPath(s.Socket, func(path string) (err error) {
		s.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		return err
	})
	if err != nil {
		os.RemoveAll(s.dir)
		return nil, err
	}
	if len(s.Socket) > maxSocketPath {
		s.listener.SetUnlinkOnClose(false) // it would not find the path; Close removes the folder
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	go s.accept()
	return s, nil
}

// errClosed is the cause of a context that ends with the server.
var errClosed = errors.New("the machine ends")

// Cancel ends all requests, for the reason why, and waits until they are answered.
func (s *Server) Cancel(why error) {
	s.cancel(why)
	s.Wait()
}

// Wait takes no more requests, and waits until those that came are answered: for a
// machine that has ended.
func (s *Server) Wait() {
	s.listener.Close()
	s.requests.Wait()
}

// Close ends the server and cancels all requests.
func (s *Server) Close() error {
	s.cancel(errClosed)
	s.listener.Close()
	return os.RemoveAll(s.dir)
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.AcceptUnix()
		if err != nil {
			return
		}
		s.requests.Add(1)
		go func() {
			defer s.requests.Done()
			s.serve(conn)
		}()
	}
}

// serve answers the one request of a connection.
func (s *Server) serve(conn *net.UnixConn) {
	defer conn.Close()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	// A client that says nothing does not hold up the end of the server.
	stop := context.AfterFunc(s.ctx, func() { conn.CloseRead() })
	request, further, files, err := receive(conn)
	stop()
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	var response Response
	if err == nil {
		sizes := make(chan agent.Terminal)
		request.Sizes = sizes
		go func() {
			// The client sends nothing else: an error means that it has ended.
			defer cancel()
			for {
				var size agent.Terminal
				if further.Decode(&size) != nil {
					return
				}
				select {
				case sizes <- size:
				case <-ctx.Done():
				}
			}
		}()
		if err = s.do(ctx, request, files, &response); err != nil {
			err = s.report(err)
		}
	}
	if err != nil {
		response.Error = err.Error()
	}
	json.NewEncoder(conn).Encode(&response)
}

// report adds the end of the console and more to an error that is about the machine: the
// time ran out, or the guest or the host failed.
func (s *Server) report(err error) error {
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, vm.ErrGuest) && !errors.Is(err, vm.ErrHost) {
		return err
	}
	s.machine.CollectLogs()
	return s.machine.Report(err)
}

// receive reads a request and the three files that come with it. The decoder is for what
// the client sends later.
func receive(conn *net.UnixConn) (*Request, *json.Decoder, []*os.File, error) {
	first, rights := make([]byte, 1), make([]byte, syscall.CmsgSpace(3*4))
	_, n, _, _, err := conn.ReadMsgUnix(first, rights)
	if err != nil {
		return nil, nil, nil, err
	}
	var files []*os.File
	messages, err := syscall.ParseSocketControlMessage(rights[:n])
	for i := range messages {
		descriptors, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			return nil, nil, files, err
		}
		for _, fd := range descriptors {
			syscall.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "file of the client"))
		}
	}
	if err != nil || len(files) != 3 {
		return nil, nil, files, errors.New("the request needs the three standard files of the client")
	}
	request := &Request{}
	decoder := json.NewDecoder(io.MultiReader(bytes.NewReader(first), conn))
	if err := decoder.Decode(request); err != nil {
		return nil, nil, files, fmt.Errorf("request: %w", err)
	}
	return request, decoder, files, nil
}

func (s *Server) do(ctx context.Context, r *Request, files []*os.File, response *Response) error {
	m := s.machine
	switch {
	case r.Exec != nil:
		return s.exec(ctx, r.Exec.command(), files, r.Sizes, response)
	case r.Shell != nil:
		cmd := r.Shell.command()
		cmd.Env = append(slices.Clone(s.Shell.Env), cmd.Env...)
		if cmd.Dir == "" {
			cmd.Dir = s.Shell.Dir
		}
		if cmd.User == "" {
			cmd.User = s.Shell.User
		}
		return s.exec(ctx, cmd, files, r.Sizes, response)
	case r.WaitFor != nil:
		return m.WaitFor(ctx, r.WaitFor.command(), r.WaitFor.Limit)
	case r.Copy != nil && r.Copy.ToGuest:
		return s.copy(ctx, r.Copy, (*agent.Client).CopyTo)
	case r.Copy != nil:
		return s.copy(ctx, r.Copy, (*agent.Client).CopyFrom)
	case r.Expect != nil:
		if limit := m.TimeLimit(r.Expect.Limit); limit > 0 {
			var cancel func()
			ctx, cancel = context.WithTimeoutCause(ctx, limit, &vm.TimeError{Text: fmt.Sprintf("waited %v", limit)})
			defer cancel()
		}
		return m.Expect(ctx, r.Expect.Patterns...)
	case r.Wait != nil && r.Wait.Unit != "":
		return m.WaitForUnit(ctx, r.Wait.Unit, r.Wait.Limit)
	case r.Wait != nil && r.Wait.Port != 0:
		return m.WaitForPort(ctx, r.Wait.Port, r.Wait.Limit)
	case r.Wait != nil:
		return m.WaitForFile(ctx, r.Wait.File, r.Wait.Limit)
	case r.Forward != 0:
		address, err := m.Forward(ctx, r.Forward)
		response.Address = address
		return err
	case r.Screenshot != "":
		return m.Screenshot(ctx, r.Screenshot)
	case r.PowerOff:
		return m.PowerOff(ctx)
	case r.Reboot:
		return m.Reboot(ctx)
	case r.Reset:
		return m.Reset(ctx)
	case r.Stop:
		m.Stop()
		_, err := m.Wait(ctx)
		return err
	case r.Ports:
		response.Ports = m.Ports()
		return nil
	}
	return errors.New("the request is empty")
}

// exec runs a command with the files of a client.
func (s *Server) exec(ctx context.Context, cmd vm.Command, files []*os.File, sizes <-chan agent.Terminal, response *Response) error {
	stdin, err := newInput(files[0])
	if err != nil {
		return err
	}
	defer stdin.stop()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, files[1], files[2]
	cmd.TimeLimit = s.machine.TimeLimit(cmd.TimeLimit)
	client, err := s.machine.Agent(ctx)
	if err != nil {
		return err
	}
	p, err := client.Start(ctx, cmd)
	if err != nil {
		return s.machine.Explain(err)
	}
	ended := make(chan struct{})
	go func() {
		for {
			select {
			case size := <-sizes:
				p.Resize(size) // an error shows in the result
			case <-ended:
				return
			}
		}
	}()
	result, err := p.Wait()
	close(ended)
	if err != nil {
		return s.machine.Explain(err)
	}
	response.ExitStatus, response.Signal = result.ExitStatus, int(result.Signal)
	if result.TimedOut {
		return fmt.Errorf("%q did not end within %v", cmd.Args, cmd.TimeLimit)
	}
	return nil
}

// copy copies in one of both directions.
func (s *Server) copy(ctx context.Context, c *Copy, copy func(client *agent.Client, ctx context.Context, src, dst string, o agent.CopyOptions) error) error {
	client, err := s.machine.Agent(ctx)
	if err != nil {
		return err
	}
	if err := copy(client, ctx, c.From, c.To, agent.CopyOptions{Into: c.Into}); err != nil {
		return s.machine.Explain(err)
	}
	return nil
}

func (e *Exec) command() vm.Command {
	cmd := vm.Command{Dir: e.Dir, User: e.User, TimeLimit: e.Limit, Terminal: e.Terminal, Shell: len(e.Args) == 0}
	for _, arg := range e.Args {
		cmd.Args = append(cmd.Args, string(arg))
	}
	for _, variable := range e.Env {
		cmd.Env = append(cmd.Env, string(variable))
	}
	return cmd
}
