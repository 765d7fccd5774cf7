package qemu

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

// An Event is an event of the QEMU Machine Protocol.
type Event struct {
	Name string `json:"event"`
	Data struct {
		Guest  bool   `json:"guest"`
		Reason string `json:"reason"`
		// Of BLOCK_IO_ERROR:
		Node   string `json:"node-name"`
		Action string `json:"action"`
		// Of VSERPORT_CHANGE:
		ID   string `json:"id"`
		Open bool   `json:"open"`
	} `json:"data"`
}

// A Monitor sends commands to QEMU and receives its events.
type Monitor struct {
	conn    net.Conn
	onEvent func(Event)   // called in order, by the reader
	closed  chan struct{} // closed when the reader has ended
	reason  error         // why it has ended, once closed is closed

	mu      sync.Mutex
	next    int
	pending map[int]chan response
}

type response struct {
	ID     int             `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
}

// ErrMonitorClosed is the reason of a connection that QEMU closed, as it does when it ends.
var ErrMonitorClosed = errors.New("QEMU closed its monitor")

// maxMessage bounds, in bytes, a message from QEMU, and so the memory for it.
const maxMessage = 16 << 20

// newMonitor starts to read from conn. It ends when conn is closed.
func newMonitor(conn net.Conn, onEvent func(Event)) *Monitor {
	m := &Monitor{conn: conn, onEvent: onEvent, closed: make(chan struct{}), pending: map[int]chan response{}}
	go m.read()
	return m
}

// Closed returns a channel that closes when QEMU sends nothing more.
func (m *Monitor) Closed() <-chan struct{} { return m.closed }

// Reason returns why QEMU sends nothing more, once Closed is closed.
func (m *Monitor) Reason() error { return m.reason }

func (m *Monitor) read() {
	defer close(m.closed)
	limited := &io.LimitedReader{R: m.conn}
	decoder := json.NewDecoder(limited)
	for {
		limited.N = maxMessage
		var message struct {
			response
			Event
		}
		if err := decoder.Decode(&message); err != nil {
			m.reason = ErrMonitorClosed
			if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
				m.reason = fmt.Errorf("QEMU sent something that is not QMP: %w", err)
			}
			if limited.N == 0 {
				m.reason = fmt.Errorf("QEMU sent a QMP message of more than %d MiB", maxMessage>>20)
			}
			return
		}
		switch {
		case message.Name != "":
			m.onEvent(message.Event)
		case message.Return != nil || message.Error != nil:
			m.mu.Lock()
			answer := m.pending[message.ID]
			delete(m.pending, message.ID)
			m.mu.Unlock()
			if answer != nil {
				answer <- message.response
			}
		}
	}
}

// Execute runs a command and returns its return value. Commands do not wait for
// each other, so that one which hangs does not delay the end of the machine.
func (m *Monitor) Execute(ctx context.Context, command string, arguments any) (json.RawMessage, error) {
	return m.executeWith(ctx, command, arguments, nil)
}

// executeWith is Execute for a command that a file comes with, unless it is nil.
func (m *Monitor) executeWith(ctx context.Context, command string, arguments any, file *os.File) (json.RawMessage, error) {
	answers := make(chan response, 1)
	if err := m.send(ctx, command, arguments, file, answers); err != nil {
		return nil, fmt.Errorf("QMP %s: %w", command, m.sendError(ctx, err))
	}
	return m.await(ctx, command, answers)
}

// await waits for the answer to a command.
func (m *Monitor) await(ctx context.Context, command string, answers <-chan response) (json.RawMessage, error) {
	select {
	case answer := <-answers:
		return answer.result(command)
	case <-m.closed:
	case <-ctx.Done():
	}
	// QEMU may have answered before.
	select {
	case answer := <-answers:
		return answer.result(command)
	default:
	}
	select {
	case <-m.closed:
		return nil, fmt.Errorf("QMP %s: %w", command, m.reason)
	default:
		return nil, fmt.Errorf("QMP %s: QEMU did not answer: %w", command, context.Cause(ctx))
	}
}

func (r *response) result(command string) (json.RawMessage, error) {
	if r.Error != nil {
		return nil, fmt.Errorf("QMP %s: %s", command, r.Error.Desc)
	}
	return r.Return, nil
}

// sendFile gives QEMU a file descriptor, which later commands call by name.
func (m *Monitor) sendFile(ctx context.Context, name string, file *os.File) error {
	_, err := m.executeWith(ctx, "getfd", map[string]any{"fdname": name}, file)
	return err
}

func (m *Monitor) send(ctx context.Context, command string, arguments any, file *os.File, answers chan response) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	request := map[string]any{"execute": command, "id": m.next}
	if arguments != nil {
		request["arguments"] = arguments
	}
	b, err := json.Marshal(request)
	if err != nil {
		return err
	}
	m.pending[m.next] = answers
	// A write blocks only if QEMU has not read for long.
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(time.Minute)
	}
	m.conn.SetWriteDeadline(deadline)
	if file != nil {
		// The conversion holds: socketPair makes Unix sockets.
		_, _, err = m.conn.(*net.UnixConn).WriteMsgUnix(b, syscall.UnixRights(int(file.Fd())), nil)
		return err
	}
	_, err = m.conn.Write(b)
	return err
}

// sendError returns why a command could not be sent.
func (m *Monitor) sendError(ctx context.Context, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
		return fmt.Errorf("QEMU did not answer: %w", context.Cause(ctx))
	}
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed) {
		<-m.closed // the reader sees it, too
		return m.reason
	}
	return err
}
