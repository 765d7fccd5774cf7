package protocol

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// Session multiplexes requests over a stream after the hello. [Session.Serve]
// never waits for the reader of a channel, so that one busy request does not hold
// up others, and never writes, so that two sides that both have much to send
// do not wait for each other.
type Session struct {
	w      *Writer
	nonce  Nonce
	handle func(*Request) // the agent's side; nil on the host

	opening sync.Mutex // held while the host sends OPEN: numbers arrive in order

	mu       sync.Mutex
	requests map[uint32]*Request
	last     uint32 // number of the newest request
	err      error
	done     chan struct{}
}

// NewSession returns a session after its hello. With handle, it is the agent's
// side, which calls handle in a goroutine for each request; without, the host's.
func NewSession(w *Writer, nonce Nonce, handle func(*Request)) *Session {
	return &Session{
		w: w, nonce: nonce, handle: handle,
		requests: make(map[uint32]*Request),
		done:     make(chan struct{}),
	}
}

// Done is closed when the session is over.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns why the session is over, or nil.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Fail ends the session and all its requests, for the reason err. The first
// reason stays.
func (s *Session) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	s.err = err
	close(s.done)
	for _, q := range s.requests {
		q.fail(err)
	}
	clear(s.requests)
}

// Open begins a request with the operation op and this body. The caller reads its
// channels and then its [Request.Result].
func (s *Session) Open(op Op, body Message) (*Request, error) {
	var b []byte
	if body != nil {
		b = Encode(body)
	}
	if len(b) > MaxBody {
		return nil, fmt.Errorf("request of %d bytes is too long, the limit is %d", len(b), MaxBody)
	}
	s.opening.Lock()
	defer s.opening.Unlock()
	q, err := s.add(op, s.last+1)
	if err != nil {
		return nil, err
	}
	if err := q.send(frameOpen, Control, []byte{byte(op)}); err != nil {
		return nil, err
	}
	q.body = b
	return q, nil
}

// add registers a request.
func (s *Session) add(op Op, id uint32) (*Request, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return nil, s.err
	case id != s.last+1:
		return nil, violation("request %d follows request %d", id, s.last)
	case len(s.requests) >= MaxRequests:
		return nil, violation("more than %d requests at once", MaxRequests)
	}
	q := newRequest(s, op, id)
	s.last = id
	s.requests[id] = q
	return q, nil
}

func (s *Session) remove(q *Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requests, q.id)
}

// Serve reads frames from r until the stream ends or breaks the protocol, and
// returns why. The caller then ends the session with Fail.
func (s *Session) Serve(r *bufio.Reader) error {
	for {
		if err := s.next(r); err != nil {
			return err
		}
	}
}

func (s *Session) next(r *bufio.Reader) error {
	if s.handle == nil {
		// The agent answers each hello. The host repeats its hello until the first
		// answer, so there may be more of them.
		first, err := r.Peek(1)
		if err != nil {
			return err
		}
		if first[0] == answerMagic[0] {
			a, err := readAnswer(r)
			if err == nil && a.Nonce != s.nonce {
				err = violation("the agent answers a hello of another session")
			}
			return err
		}
	}
	f, err := readFrame(r)
	if err != nil {
		return err
	}
	return s.dispatch(f)
}

func (s *Session) dispatch(f frame) error {
	agent := s.handle != nil
	switch f.kind {
	case frameOpen, frameSignal, frameCancel, frameResize:
		if !agent {
			return violation("%s frame from the agent", f.kind)
		}
	case frameStarted, frameLost:
		if agent {
			return violation("%s frame from the host", f.kind)
		}
	}
	var number uint32
	switch f.kind {
	case frameCredit, frameStarted, frameSignal, frameResize:
		if len(f.payload) != 4 {
			return violation("%s frame of %d bytes, want 4", f.kind, len(f.payload))
		}
		number = binary.BigEndian.Uint32(f.payload)
	case frameOpen:
		if len(f.payload) != 1 {
			return violation("%s frame of %d bytes, want 1", f.kind, len(f.payload))
		}
		q, err := s.add(Op(f.payload[0]), f.request)
		if err != nil {
			return err
		}
		go s.handle(q)
		return nil
	case frameLost:
		return fmt.Errorf("the agent ended the session: %.512q", f.payload)
	}

	s.mu.Lock()
	q, last := s.requests[f.request], s.last
	s.mu.Unlock()
	if q == nil {
		// Credit and the like may cross the end of a request. The agent's data
		// cannot: the end is the last that it sends.
		if f.request == 0 || f.request > last || !agent && f.kind != frameCredit {
			return violation("%s frame for request %d, which is not open", f.kind, f.request)
		}
		return nil
	}
	return q.dispatch(f, number)
}

// ErrRequestOver is the error of writes to a request that has its result.
var ErrRequestOver = errors.New("the request is over")
