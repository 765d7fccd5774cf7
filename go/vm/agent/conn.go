package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

// Conn is a connection that the agent made in the guest. CloseWrite ends one
// direction, as of a net.TCPConn.
type Conn struct {
	call   *call
	w      io.WriteCloser
	r      io.Reader
	remote guestAddr
	stop   context.CancelCauseFunc
	once   sync.Once
}

var _ net.Conn = (*Conn)(nil)

// Dial connects to an address as the guest sees it: network "tcp" with an address
// such as "127.0.0.1:80", or "unix" with a path. The host and the guest need no
// network for it. ctx limits only the time until the connection is made.
func (c *Client) Dial(ctx context.Context, network, address string) (*Conn, error) {
	connected, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	unwatch := context.AfterFunc(ctx, func() { stop(context.Cause(ctx)) })
	k, err := c.open(connected, protocol.OpDial, &protocol.Dial{Network: network, Address: address})
	if err != nil {
		stop(nil)
		return nil, err
	}
	_, ok := k.WaitStarted()
	if !unwatch() {
		ok = false // ctx is done, and the request is being canceled
	}
	if !ok {
		err := k.result(nil)
		if err == nil {
			err = errors.New("the agent ended a connection before it was made")
		}
		stop(nil)
		return nil, err
	}
	return &Conn{
		call: k, stop: stop,
		r: k.Reader(protocol.Data), w: k.Writer(protocol.Data),
		remote: guestAddr{network, address},
	}, nil
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) { return c.r.Read(b) }

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (int, error) { return c.w.Write(b) }

// CloseWrite tells the other end that nothing more is written.
func (c *Conn) CloseWrite() error { return c.w.Close() }

// Close closes the connection. What was written before is still sent.
func (c *Conn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		err = nil
		go func() {
			c.stop(net.ErrClosed)
			c.call.result(nil)
		}()
	})
	return err
}

// LocalAddr implements net.Conn. The agent's own address is not known.
func (c *Conn) LocalAddr() net.Addr { return guestAddr{c.remote.network, "agent"} }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.call.SetReadDeadline(protocol.Data, t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.call.SetWriteDeadline(protocol.Data, t)
	return nil
}

// guestAddr is an address in the guest.
type guestAddr struct{ network, address string }

func (a guestAddr) Network() string { return a.network }
func (a guestAddr) String() string  { return a.address }
