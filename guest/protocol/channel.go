package protocol

import (
	"encoding/binary"
	"io"
	"os"
	"sync"
	"time"
)

// inbox holds the bytes of a channel that arrived and were not read yet: at most
// Window, because the sender needs credit for more.
type inbox struct {
	mu      sync.Mutex
	changed sync.Cond
	buf     []byte
	start   int   // of the unread bytes in buf
	allowed int   // bytes that the sender may still send
	read    int   // bytes read since the last grant
	err     error // the error of Read after the unread bytes
	dropped bool  // unread bytes and those that still arrive are of no interest
	deadline

	grant func(n uint32) // sends credit
}

func newInbox(grant func(uint32)) *inbox {
	b := &inbox{allowed: Window, grant: grant}
	b.changed.L = &b.mu
	return b
}

// receive stores bytes from the peer. It never blocks.
func (b *inbox) receive(p []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dropped {
		return nil
	}
	if b.err != nil {
		return violation("data after the end of a channel")
	}
	if len(p) > b.allowed {
		return violation("%d bytes on a channel that may take %d", len(p), b.allowed)
	}
	b.allowed -= len(p)
	if b.start > 0 && len(b.buf)+len(p) > cap(b.buf) {
		b.buf = b.buf[:copy(b.buf, b.buf[b.start:])]
		b.start = 0
	}
	b.buf = append(b.buf, p...)
	b.changed.Broadcast()
	return nil
}

// end lets readers have the unread bytes and then err.
func (b *inbox) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	b.changed.Broadcast()
}

// drop forgets the unread bytes; readers get err.
func (b *inbox) drop(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf, b.start, b.err, b.dropped = nil, 0, err, true
	b.changed.Broadcast()
}

// Read implements io.Reader. It grants the sender more credit.
func (b *inbox) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b.mu.Lock()
	for b.start == len(b.buf) && b.err == nil && !b.expired {
		b.changed.Wait()
	}
	if b.expired {
		defer b.mu.Unlock()
		return 0, os.ErrDeadlineExceeded
	}
	if b.start == len(b.buf) {
		b.buf, b.start = nil, 0
		defer b.mu.Unlock()
		return 0, b.err
	}
	n := copy(p, b.buf[b.start:])
	b.start += n
	if b.start == len(b.buf) {
		b.buf, b.start = b.buf[:0], 0
	}
	b.read += n
	credit := 0
	// Small grants cost a frame each; late ones make the sender wait.
	if b.read >= Window/4 && b.err == nil {
		credit, b.read = b.read, 0
		b.allowed += credit
	}
	b.mu.Unlock()
	if credit > 0 {
		b.grant(uint32(credit))
	}
	return n, nil
}

// outbox sends the bytes of a channel as far as the peer granted credit.
type outbox struct {
	mu      sync.Mutex
	changed sync.Cond
	credit  int
	err     error // why nothing more is sent
	deadline

	send func(frameType, []byte) error
}

func newOutbox(send func(frameType, []byte) error) *outbox {
	b := &outbox{credit: Window, send: send}
	b.changed.L = &b.mu
	return b
}

func (b *outbox) granted(n uint32) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if int64(b.credit)+int64(n) > Window {
		return violation("credit for %d bytes, the window is %d", int64(b.credit)+int64(n), Window)
	}
	b.credit += int(n)
	b.changed.Broadcast()
	return nil
}

// fail makes Write and Close return err, also those that wait.
func (b *outbox) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	b.changed.Broadcast()
}

// Write implements io.Writer. It waits for credit.
func (b *outbox) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		b.mu.Lock()
		for b.credit == 0 && b.err == nil && !b.expired {
			b.changed.Wait()
		}
		if b.err != nil {
			defer b.mu.Unlock()
			return done, b.err
		}
		if b.expired {
			defer b.mu.Unlock()
			return done, os.ErrDeadlineExceeded
		}
		n := min(len(p)-done, b.credit, MaxPayload)
		b.credit -= n
		b.mu.Unlock()
		if err := b.send(frameData, p[done:done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// Close ends the channel. The request stays open.
func (b *outbox) Close() error {
	b.mu.Lock()
	err := b.err
	if err == nil {
		b.err = io.ErrClosedPipe
	}
	b.mu.Unlock()
	if err != nil {
		return err
	}
	return b.send(frameEnd, nil)
}

func encodeUint32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// deadline is the deadline of an inbox or outbox, guarded by its mutex.
type deadline struct {
	expired bool
	timer   *time.Timer
}

// set changes the deadline; the zero time means none. The caller holds the mutex
// of changed.
func (d *deadline) set(t time.Time, changed *sync.Cond) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.expired = !t.IsZero() && time.Until(t) <= 0
	if !t.IsZero() && !d.expired {
		var timer *time.Timer
		timer = time.AfterFunc(time.Until(t), func() {
			changed.L.Lock()
			defer changed.L.Unlock()
			if d.timer == timer { // not replaced since
				d.expired = true
				changed.Broadcast()
			}
		})
		d.timer = timer
	}
	changed.Broadcast()
}

func (b *inbox) setDeadline(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set(t, &b.changed)
}

func (b *outbox) setDeadline(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set(t, &b.changed)
}
