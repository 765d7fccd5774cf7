//go:build linux

package main

import (
	"errors"
	"io"
	"os"
	"time"
	"unsafe"

	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

// streams are the three pipes of a command.
type streams struct {
	stdin   *os.File // nil: the command's standard input is at its end
	outputs [2]*output
	child   []*os.File
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
	for i, want := range []bool{m.WantStdout, m.WantStderr} {
		r, w, err := os.Pipe()
		if err != nil {
			s.close()
			s.closeChild()
			return nil, err
		}
		s.outputs[i] = &output{r: r, want: want, done: make(chan struct{})}
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
		if o != nil {
			o.r.Close()
		}
	}
}

// copy begins to copy all three.
func (s *streams) copy(q *protocol.Request) {
	if s.stdin != nil {
		go func() {
			// A command that closes its standard input gets no more of it. It is
			// not an error, as in a shell's pipe.
			copyBytes(s.stdin, q.Reader(protocol.Data))
			s.stdin.Close()
		}()
	}
	for i, o := range s.outputs {
		ch := protocol.Data + protocol.Channel(i)
		go o.copy(q.Writer(ch))
	}
}

// finish waits until all that the command wrote is on its way.
func (s *streams) finish() {
	if s.stdin != nil {
		s.stdin.Close()
	}
	for _, o := range s.outputs {
		// Wake the reader.
		o.r.SetReadDeadline(time.Unix(1, 0))
	}
	for _, o := range s.outputs {
		<-o.done
	}
}

// output is standard output or standard error of a command.
//
// A command that ended may leave processes behind that hold its outputs, such as a
// server that it started. They must not keep the request open, and their writes
// must not fail. So the request has what was in the pipe when the command ended,
// and what comes after that is discarded for as long as someone may write.
type output struct {
	r    *os.File
	want bool
	done chan struct{}
}

func (o *output) copy(w io.WriteCloser) {
	defer o.r.Close()
	o.send(w)
	close(o.done)
	o.r.SetReadDeadline(time.Time{})
	io.Copy(io.Discard, o.r)
}

// send copies until the command ended or the host wants no more.
func (o *output) send(w io.WriteCloser) {
	b := copyBuffers.Get().(*[2 * protocol.MaxPayload]byte)
	defer copyBuffers.Put(b)
	left := -1 // bytes to read yet; unknown while the command runs
	for left != 0 {
		room := b[:]
		if left > 0 {
			room = room[:min(left, len(room))]
		}
		n, err := o.r.Read(room)
		if n > 0 && o.want {
			if _, err := w.Write(room[:n]); err != nil {
				return
			}
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
