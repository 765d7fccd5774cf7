//go:build linux

package main

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"
	"unsafe"

	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

// streams are the three pipes of a command, or its terminal.
type streams struct {
	stdin   *os.File // nil: the command's standard input is at its end
	outputs []*output
	child   []*os.File
	eof     string // ends the standard input of a terminal, which cannot be closed
}

func openStreams(m *protocol.Run) (*streams, error) {
	s := new(streams)
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.child = append(s.child, r)
	if m.WantStdin {
		s.stdin = w
	} else {
		w.Close()
	}
	for _, want := range []bool{m.WantStdout, m.WantStderr} {
		r, w, err := os.Pipe()
		if err != nil {
			s.close()
			s.closeChild()
			return nil, err
		}
		s.outputs = append(s.outputs, newOutput(r, want))
		s.child = append(s.child, w)
	}
	return s, nil
}

// closeChild closes the command's ends.
func (s *streams) closeChild() {
	for _, f := range s.child {
		f.Close()
	}
	s.child = nil
}

func (s *streams) close() {
	if s.stdin != nil {
		s.stdin.Close()
	}
	for _, o := range s.outputs {
		o.r.Close()
	}
}

// copy begins to copy all three.
func (s *streams) copy(q *protocol.Request) {
	if s.stdin != nil {
		go func() {
			// A command that closes its standard input gets no more of it. It is
			// not an error, as in a shell's pipe.
			copyBytes(s.stdin, q.Reader(protocol.Data))
			if s.eof == "" {
				s.stdin.Close()
			} else {
				s.stdin.WriteString(s.eof)
			}
		}()
	}
	for i, o := range s.outputs {
		ch := protocol.Data + protocol.Channel(i)
		go o.copy(q.Writer(ch))
	}
}

// finish waits until all that the command wrote is on its way.
func (s *streams) finish() {
	if s.stdin != nil && s.eof == "" {
		s.stdin.Close()
	} else if s.stdin != nil {
		s.stdin.SetWriteDeadline(time.Now())
	}
	for _, o := range s.outputs {
		o.commandEnded()
	}
	for _, o := range s.outputs {
		<-o.done
	}
}

// output is standard output or standard error of a command.
//
// A command that ended may leave processes behind that hold its outputs. Some of them
// still write its output, such as sed in `echo text > >(sed …)` of bash: the request has
// that. Others are servers that it started: they must not keep the request open, and
// their writes must not fail. So the request ends when an output is silent for
// silence, or after patience, and what comes after that is discarded.
type output struct {
	r     *os.File
	want  bool
	done  chan struct{}
	ended chan struct{} // closed when the command has ended

	mu   sync.Mutex
	last time.Time // when the request ends at the latest; zero while the command runs
}

func newOutput(r *os.File, want bool) *output {
	return &output{r: r, want: want, done: make(chan struct{}), ended: make(chan struct{})}
}

// Times after the end of a command. An emulated guest takes 0.1 s to start a program.
const (
	silence  = time.Second
	patience = 5 * time.Second
)

// commandEnded starts to wait for silence.
func (o *output) commandEnded() {
	o.mu.Lock()
	o.last = time.Now()
	if o.want {
		o.last = o.last.Add(patience)
	}
	o.mu.Unlock()
	close(o.ended)
	o.waitOn()
}

// waitOn lets the next read wait for as long as it may.
func (o *output) waitOn() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last.IsZero() {
		return
	}
	deadline := time.Now().Add(silence)
	if deadline.After(o.last) {
		deadline = o.last
	}
	o.r.SetReadDeadline(deadline)
}

func (o *output) copy(w io.WriteCloser) {
	defer o.r.Close()
	o.send(w)
	close(o.done)
	o.r.SetReadDeadline(time.Time{})
	io.Copy(io.Discard, o.r)
	// The kernel kills a command whose terminal is closed, also one that has closed its own
	// end.
	<-o.ended
}

// send copies until the command and its output ended or the host wants no more.
func (o *output) send(w io.WriteCloser) {
	b := copyBuffers.Get().(*[2 * protocol.MaxPayload]byte)
	defer copyBuffers.Put(b)
	r := newNonblocking(o.r)
	left := -1 // bytes to read yet; unknown while more may come
	for left != 0 {
		room := b[:]
		if left > 0 {
			room = room[:min(left, len(room))]
		}
		n, err := r.Read(room)
		if n > 0 && o.want {
			if _, err := w.Write(room[:n]); err != nil {
				return
			}
		}
		if n > 0 && left < 0 {
			o.waitOn()
		}
		if left > 0 {
			left -= n
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && left < 0 {
			o.r.SetReadDeadline(time.Time{})
			left = o.buffered()
		} else if err != nil {
			break
		}
	}
	if o.want {
		w.Close()
	}
}

// buffered returns how many bytes are in the pipe.
func (o *output) buffered() int {
	var n int32
	if conn, err := o.r.SyscallConn(); err == nil {
		conn.Control(func(fd uintptr) {
			const fionread = 0x541b
			ioctl(int(fd), fionread, unsafe.Pointer(&n))
		})
	}
	return int(n)
}
