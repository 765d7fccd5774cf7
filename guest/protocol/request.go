package protocol

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"
	"time"
)

// Request is one request of a session, as either side sees it.
type Request struct {
	Op Op

	id   uint32
	s    *Session
	body []byte // the host's, until SendBody
	in   [channels]*inbox
	out  [channels]*outbox

	ctx    context.Context
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	signals uint64        // bit n-1: signal n was sent and not taken yet
	signal  chan struct{} // has an item if there may be signals or another size
	size    *uint32       // rows and columns, 16 bits each, that were sent and not taken yet
	process uint32
	started chan struct{}
}

func newRequest(s *Session, op Op, id uint32) *Request {
	q := &Request{Op: op, id: id, s: s, signal: make(chan struct{}, 1), started: make(chan struct{})}
	q.ctx, q.cancel = context.WithCancelCause(context.Background())
	for i := range Channel(channels) {
		q.in[i] = newInbox(func(n uint32) { q.send(frameCredit, i, encodeUint32(n)) })
		q.out[i] = newOutbox(func(t frameType, p []byte) error { return q.send(t, i, p) })
	}
	return q
}

func (q *Request) send(t frameType, ch Channel, payload []byte) error {
	err := q.s.w.write(q.s, frame{kind: t, channel: ch, request: q.id, payload: payload})
	if err != nil {
		q.s.Fail(err)
	}
	return err
}

func (q *Request) dispatch(f frame, number uint32) error {
	switch f.kind {
	case frameData:
		return q.in[f.channel].receive(f.payload)
	case frameEnd:
		q.in[f.channel].end(io.EOF)
		if q.s.handle == nil && f.channel == Control {
			q.s.remove(q)
			for i := range q.in {
				q.in[i].end(io.EOF)
				q.out[i].fail(ErrRequestOver)
			}
			q.cancel(ErrRequestOver)
		}
	case frameCredit:
		return q.out[f.channel].granted(number)
	case frameSignal:
		if number < 1 || number > 64 {
			return violation("signal %d", number)
		}
		q.mu.Lock()
		q.signals |= 1 << (number - 1)
		q.mu.Unlock()
		q.wake()
	case frameResize:
		q.mu.Lock()
		q.size = &number
		q.mu.Unlock()
		q.wake()
	case frameCancel:
		q.canceled()
	case frameStarted:
		q.mu.Lock()
		defer q.mu.Unlock()
		select {
		case <-q.started:
			return violation("request %d started twice", q.id)
		default:
		}
		q.process = number
		close(q.started)
	}
	return nil
}

// wake tells the agent that there is a signal or a size to take.
func (q *Request) wake() {
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

// fail ends everything of the request.
func (q *Request) fail(err error) {
	for i := range q.in {
		q.in[i].drop(err)
		q.out[i].fail(err)
	}
	q.cancel(err)
}

// canceled ends the request at the agent except for its result. Bytes that came
// before stay readable: closing a connection does not lose data that was written to it.
func (q *Request) canceled() {
	for i := range Channel(channels) {
		q.in[i].end(context.Canceled)
		if i != Control {
			q.out[i].fail(context.Canceled)
		}
	}
	q.cancel(context.Canceled)
}

// Context is done when the request is canceled or over.
func (q *Request) Context() context.Context { return q.ctx }

// Reader returns the bytes that the peer sends on a channel.
func (q *Request) Reader(ch Channel) io.Reader { return q.in[ch] }

// Writer sends bytes on a channel; Close ends it.
func (q *Request) Writer(ch Channel) io.WriteCloser { return q.out[ch] }

// SetReadDeadline makes reads of a channel fail with os.ErrDeadlineExceeded from t
// on. The zero time means never.
func (q *Request) SetReadDeadline(ch Channel, t time.Time) { q.in[ch].setDeadline(t) }

// SetWriteDeadline does the same for writes that wait for credit.
func (q *Request) SetWriteDeadline(ch Channel, t time.Time) { q.out[ch].setDeadline(t) }

// SendBody sends the body of the request. Only the host calls it, once.
func (q *Request) SendBody() error {
	b := q.body
	q.body = nil
	if _, err := q.out[Control].Write(b); err != nil {
		return err
	}
	return q.out[Control].Close()
}

// Body reads the body of the request into m, or makes sure that there is none if m
// is nil. Only the agent calls it, once.
func (q *Request) Body(m Message) error {
	b, err := readBounded(q.in[Control], MaxBody)
	switch {
	case err != nil:
	case m != nil:
		err = Decode(b, m)
	case len(b) > 0:
		err = violation("%d bytes, want none", len(b))
	}
	if err != nil {
		return fmt.Errorf("request body: %w", err)
	}
	return nil
}

// Started tells the host that the command runs, with its process id, or that the
// connection is made. Only the agent calls it, at most once.
func (q *Request) Started(process uint32) error {
	return q.send(frameStarted, Control, encodeUint32(process))
}

// WaitStarted waits until the agent has started the request. It returns false if
// the request is over instead; its result says why.
func (q *Request) WaitStarted() (process uint32, ok bool) {
	select {
	case <-q.started:
	case <-q.ctx.Done():
	}
	select {
	case <-q.started:
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.process, true
	default:
		return 0, false
	}
}

// Signal sends a signal to the command's process group. Only the host calls it.
func (q *Request) Signal(number uint32) error {
	return q.send(frameSignal, Control, encodeUint32(number))
}

// Resize changes the size of the command's terminal. Only the host calls it.
func (q *Request) Resize(rows, columns uint16) error {
	return q.send(frameResize, Control, encodeUint32(uint32(rows)<<16|uint32(columns)))
}

// Cancel asks the agent to end the request now, and drops all data in flight. A
// result still follows. Only the host calls it.
func (q *Request) Cancel(why error) {
	for i := range Channel(channels) {
		q.out[i].fail(why)
		if i != Control {
			q.in[i].drop(why)
		}
	}
	q.cancel(why)
	q.send(frameCancel, Control, nil)
}

// Signaled has an item when there may be signals or a size to take.
func (q *Request) Signaled() <-chan struct{} { return q.signal }

// TakeSignal returns a signal that the host sent, or 0. Like the system, it keeps
// one of each number.
func (q *Request) TakeSignal() uint32 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.signals == 0 {
		return 0
	}
	n := bits.TrailingZeros64(q.signals)
	q.signals &^= 1 << n
	return uint32(n) + 1
}

// TakeSize returns the size of the terminal that the host sent last, or false if there
// is no new one.
func (q *Request) TakeSize() (rows, columns uint16, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.size == nil {
		return 0, 0, false
	}
	n := *q.size
	q.size = nil
	return uint16(n >> 16), uint16(n), true
}

// Finish sends the result, which ends the request. Only the agent calls it, once.
func (q *Request) Finish(r Result) error {
	if len(r.Error) > 4096 {
		r.Error = r.Error[:4096]
	}
	if _, err := q.out[Control].Write(Encode(&r)); err != nil {
		return err
	}
	// The host may open another request as soon as it has the end.
	q.s.remove(q)
	err := q.out[Control].Close()
	q.fail(ErrRequestOver)
	return err
}

// Result waits for the result and decodes its body into m, which may be nil. An
// error from the agent is an [*Error]. Only the host calls it, once.
func (q *Request) Result(m Message) error {
	b, err := readBounded(q.in[Control], MaxResult)
	if err != nil {
		return err
	}
	var r Result
	if err := Decode(b, &r); err != nil {
		return err
	}
	if r.Error != "" {
		return &Error{Errno: r.Errno, Message: r.Error}
	}
	if m != nil {
		return Decode([]byte(r.Body), m)
	}
	return nil
}

func readBounded(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = violation("message is longer than %d bytes", limit)
	}
	return b, err
}

// Failure makes a Result of an error. errno returns the system's error number
// in it, or 0.
func Failure(err error, errno func(error) uint32) Result {
	if errors.Is(err, context.Canceled) {
		return Result{Error: "canceled"}
	}
	return Result{Errno: errno(err), Error: err.Error()}
}
