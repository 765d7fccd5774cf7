// Package agent talks to the agent in a guest: it runs commands there, copies
// files both ways, makes connections, and powers the guest off.
//
// The guest is not trusted. Whatever it sends, a [Client] takes a bounded amount
// of memory, and every call returns when its context is done.
package agent

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

// Client is a session with an agent. Its methods may be called concurrently.
type Client struct {
	conn    io.ReadWriteCloser
	info    Info
	session *protocol.Session
	slots   chan struct{} // one item for each open request
	served  chan struct{} // closed when nothing reads from conn any more
	grace   time.Duration

	closing sync.Once
}

// Info says what the guest is.
type Info = protocol.Info

// Error is the agent's refusal of a request, or the reason why it failed. It
// matches fs.ErrNotExist, fs.ErrExist and fs.ErrPermission if the guest's system
// said so.
type Error = protocol.Error

// ErrClosed is the error of calls after Close.
var ErrClosed = errors.New("the connection to the agent is closed")

// defaultGrace is the grace of a Client without SetGrace.
const defaultGrace = 10 * time.Second

// helloPause is the time between hellos. Variable for tests.
var helloPause = time.Second

// New begins a session with the agent at the other end of conn, and waits for its
// answer until ctx is done: for as long as the guest boots. Requests of an earlier
// session with the same agent end, and their commands are killed.
//
// The client owns conn and closes it, also if New fails. Closing conn must end its
// reads and writes.
func New(ctx context.Context, conn io.ReadWriteCloser) (*Client, error) {
	c := &Client{
		conn:   conn,
		slots:  make(chan struct{}, protocol.MaxRequests),
		served: make(chan struct{}),
		grace:  defaultGrace,
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	r := bufio.NewReaderSize(guestStream{conn}, 2*protocol.MaxFrame)
	w := protocol.NewWriter(guestStream{conn})
	err := c.hello(r, w)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("the agent did not answer: %w", context.Cause(ctx))
		}
		return nil, err
	}
	go func() {
		defer close(c.served)
		c.fail(c.session.Serve(r))
	}()
	return c, nil
}

// SetGrace sets how long the guest may take to confirm that it ended a request after
// the request's context is done. After that the session is over. The default is 10 s.
// SetGrace must not be called at the same time as requests.
func (c *Client) SetGrace(grace time.Duration) { c.grace = grace }

// hello begins the session.
func (c *Client) hello(r *bufio.Reader, w *protocol.Writer) error {
	hello := protocol.Hello{Version: protocol.Version}
	rand.Read(hello.Nonce[:])
	// An agent that is not there yet may miss a hello, if conn does not keep it.
	// Repeat it, but in a goroutine: a full conn blocks until the agent reads.
	answered, sent := make(chan struct{}), make(chan error, 1)
	go func() {
		err := w.WritePadding()
		for err == nil {
			if err = w.WriteHello(hello); err != nil {
				break
			}
			select {
			case <-answered:
				sent <- nil
				return
			case <-time.After(helloPause):
			}
		}
		sent <- err
	}()
	answer, err := protocol.ReadAnswer(r, hello.Nonce)
	close(answered)
	if err != nil {
		c.conn.Close()
		<-sent
		return fmt.Errorf("no answer from the agent: %w", err)
	}
	if answer.Version != protocol.Version {
		c.conn.Close()
		<-sent
		return fmt.Errorf("the guest has %.100q with protocol version %d, this program needs version %d: use an agent of the same release",
			answer.Name, answer.Version, protocol.Version)
	}
	if err := protocol.Decode(answer.Info, &c.info); err != nil {
		c.conn.Close()
		<-sent
		return err
	}
	c.session = protocol.NewSession(w, hello.Nonce, nil)
	// The agent reads now: a hello on its way ends soon.
	return <-sent
}

// Close ends the session. The agent kills the commands that still run when it
// notices or when another session begins. Calls in progress return ErrClosed.
func (c *Client) Close() error {
	c.fail(ErrClosed)
	<-c.served
	return nil
}

// fail ends the session for the reason err.
func (c *Client) fail(err error) {
	c.session.Fail(err)
	c.closing.Do(func() { c.conn.Close() })
}

// ErrGone is the error of calls after the guest or its agent has ended.
var ErrGone = errors.New("the guest closed the connection to its agent")

// guestStream says the same of a connection that ended, however it did.
type guestStream struct{ conn io.ReadWriter }

func (s guestStream) Read(b []byte) (int, error) {
	n, err := s.conn.Read(b)
	return n, gone(err)
}

func (s guestStream) Write(b []byte) (int, error) {
	n, err := s.conn.Write(b)
	return n, gone(err)
}

func gone(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, os.ErrDeadlineExceeded): // package vm has seen that the agent ended
		return ErrGone
	}
	return fmt.Errorf("%w: %w", ErrGone, err)
}

// Done is closed when the session is over: after Close, when the guest ends, or
// when it breaks the protocol. Err says why.
func (c *Client) Done() <-chan struct{} { return c.session.Done() }

// Err returns why the session is over, or nil.
func (c *Client) Err() error { return c.session.Err() }
