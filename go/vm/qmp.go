package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A qmpEvent is an event of the QEMU Machine Protocol.
type qmpEvent struct {
	Name string `json:"event"`
	Data struct {
		Guest  bool   `json:"guest"`
		Reason string `json:"reason"`
		// Of BLOCK_IO_ERROR:
		Node   string `json:"node-name"`
		Action string `json:"action"`
	} `json:"data"`
}

// A qmpClient sends commands to QEMU and receives its events.
type qmpClient struct {
	conn    net.Conn
	onEvent func(qmpEvent) // called in order, by the reader
	closed  chan struct{}  // closed when the reader has ended
	reason  error          // why it has ended, once closed is closed

	mu      sync.Mutex
	next    int
	pending map[int]chan qmpAnswer
}

type qmpAnswer struct {
	ID     int             `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
}

// errQMPClosed is the reason of a connection that QEMU closed, as it does when it ends.
var errQMPClosed = errors.New("QEMU closed its monitor")

// maxMessage bounds, in bytes, a message from QEMU, and so the memory for it.
const maxMessage = 16 << 20

// newQMP starts to read from conn. It ends when conn is closed.
func newQMP(conn net.Conn, onEvent func(qmpEvent)) *qmpClient {
	c := &qmpClient{conn: conn, onEvent: onEvent, closed: make(chan struct{}), pending: map[int]chan qmpAnswer{}}
	go c.read()
	return c
}

func (c *qmpClient) read() {
	defer close(c.closed)
	limited := &io.LimitedReader{R: c.conn}
	decoder := json.NewDecoder(limited)
	for {
		limited.N = maxMessage
		var message struct {
			qmpAnswer
			qmpEvent
		}
		if err := decoder.Decode(&message); err != nil {
			c.reason = errQMPClosed
			if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
				c.reason = fmt.Errorf("QEMU sent something that is not QMP: %w", err)
			}
			if limited.N == 0 {
				c.reason = fmt.Errorf("QEMU sent a QMP message of more than %d MiB", maxMessage>>20)
			}
			return
		}
		switch {
		case message.Name != "":
			c.onEvent(message.qmpEvent)
		case message.Return != nil || message.Error != nil:
			c.mu.Lock()
			answer := c.pending[message.ID]
			delete(c.pending, message.ID)
			c.mu.Unlock()
			if answer != nil {
				answer <- message.qmpAnswer
			}
		}
	}
}

// execute runs a command and returns its return value. Commands do not wait for
// each other, so that one which hangs does not delay the end of the machine.
func (c *qmpClient) execute(ctx context.Context, command string, arguments any) (json.RawMessage, error) {
	return c.executeWith(ctx, command, arguments, nil)
}

// executeWith is execute for a command that a file comes with, unless it is nil.
func (c *qmpClient) executeWith(ctx context.Context, command string, arguments any, file *os.File) (json.RawMessage, error) {
	answers := make(chan qmpAnswer, 1)
	if err := c.send(ctx, command, arguments, file, answers); err != nil {
		return nil, fmt.Errorf("QMP %s: %w", command, c.sendError(ctx, err))
	}
	return c.await(ctx, command, answers)
}

// await waits for the answer to a command.
func (c *qmpClient) await(ctx context.Context, command string, answers <-chan qmpAnswer) (json.RawMessage, error) {
	select {
	case answer := <-answers:
		return answer.result(command)
	case <-c.closed:
	case <-ctx.Done():
	}
	// QEMU may have answered before.
	select {
	case answer := <-answers:
		return answer.result(command)
	default:
	}
	select {
	case <-c.closed:
		return nil, fmt.Errorf("QMP %s: %w", command, c.reason)
	default:
		return nil, fmt.Errorf("QMP %s: QEMU did not answer: %w", command, context.Cause(ctx))
	}
}

func (a *qmpAnswer) result(command string) (json.RawMessage, error) {
	if a.Error != nil {
		return nil, fmt.Errorf("QMP %s: %s", command, a.Error.Desc)
	}
	return a.Return, nil
}

// sendFile gives QEMU a file descriptor, which later commands call by name.
func (c *qmpClient) sendFile(ctx context.Context, name string, file *os.File) error {
	_, err := c.executeWith(ctx, "getfd", map[string]any{"fdname": name}, file)
	return err
}

func (c *qmpClient) send(ctx context.Context, command string, arguments any, file *os.File, answers chan qmpAnswer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	request := map[string]any{"execute": command, "id": c.next}
	if arguments != nil {
		request["arguments"] = arguments
	}
	b, err := json.Marshal(request)
	if err != nil {
		return err
	}
	c.pending[c.next] = answers
	// A write blocks only if QEMU has not read for long.
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(time.Minute)
	}
	c.conn.SetWriteDeadline(deadline)
	if file != nil {
		// The conversion holds: socketPair makes Unix sockets.
		_, _, err = c.conn.(*net.UnixConn).WriteMsgUnix(b, syscall.UnixRights(int(file.Fd())), nil)
		return err
	}
	_, err = c.conn.Write(b)
	return err
}

// sendError returns why a command could not be sent.
func (c *qmpClient) sendError(ctx context.Context, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
		return fmt.Errorf("QEMU did not answer: %w", context.Cause(ctx))
	}
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		<-c.closed // the reader sees it, too
		return c.reason
	}
	return err
}
