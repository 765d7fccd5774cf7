package network

import (
	"sync"
	"time"
)

// Limits of the queue of one direction of a link. A frame that exceeds them is
// dropped.
const (
	maxQueueFrames = 1024
	maxQueueBytes  = 1 << 20
)

// A wire is one direction of a link. It loses, delays and delivers frames.
type wire struct {
	name    string
	deliver func(frame []byte) // may block; its next call comes after it returned
	direct  bool               // send calls deliver if nothing delays the frame
	// try delivers a frame unless that would block. It spares waking run, and may
	// be nil.
	try func(frame []byte) bool

	mu     sync.Mutex
	queue  []queued // in the order of due
	bytes  int      // in queue
	busy   bool     // run is in deliver
	cut    bool
	faults faults
	wake   chan struct{} // tells run that the queue changed

	lost, dropped, delivered uint64
}

type queued struct {
	due   time.Time // zero: now
	frame []byte
}

func newWire(name string, deliver func([]byte)) *wire {
	return &wire{name: name, deliver: deliver, wake: make(chan struct{}, 1)}
}

// send puts a frame on the wire. The frame must not change afterwards. If
// direct is set, only one goroutine may call send.
func (w *wire) send(frame []byte) {
	if w.enqueue(frame) {
		w.deliver(frame)
	}
}

// enqueue queues a frame unless it is lost, or twice if it is duplicated. If
// nothing delays the frame and the wire is direct, it returns true instead.
func (w *wire) enqueue(frame []byte) (now bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		w.lost++
		return false
	}
	fate := w.faults.next()
	if fate.copies == 0 {
		w.lost++
		return false
	}
	if w.faults.immediate(fate) && len(w.queue) == 0 && !w.busy {
		if w.direct || w.try != nil && w.try(frame) {
			w.delivered++
			return w.direct
		}
	}
	for range fate.copies {
		if len(w.queue) >= maxQueueFrames || w.bytes+len(frame) > maxQueueBytes {
			w.dropped++
			continue
		}
		w.insert(queued{w.faults.due(len(frame), fate.delay), frame}, fate.overtakes)
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return false
}

// insert adds a frame behind the others, or before those that are due later.
func (w *wire) insert(q queued, overtakes bool) {
	w.bytes += len(q.frame)
	at := len(w.queue)
	w.queue = append(w.queue, q)
	if overtakes {
		for ; at > 0 && w.queue[at-1].due.After(q.due); at-- {
			w.queue[at] = w.queue[at-1]
		}
	} else if at > 0 && w.queue[at-1].due.After(q.due) {
		q.due = w.queue[at-1].due
	}
	w.queue[at] = q
}

// run delivers the queued frames when they are due, until done is closed.
func (w *wire) run(done <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		frame, wait := w.next()
		if frame != nil {
			w.deliver(frame)
			continue
		}
		timer.Reset(wait)
		select {
		case <-done:
			return
		case <-w.wake:
		case <-timer.C:
		}
	}
}

// next takes the frame that is due. Without one it returns nil and how long to
// wait.
func (w *wire) next() (frame []byte, wait time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy = false
	if len(w.queue) == 0 {
		return nil, time.Hour
	}
	first := w.queue[0]
	if !first.due.IsZero() {
		if wait := time.Until(first.due); wait > 0 {
			return nil, wait
		}
	}
	w.queue[0] = queued{} // lets go of the frame
	w.queue = w.queue[1:]
	w.bytes -= len(first.frame)
	w.busy = true
	w.delivered++
	return first.frame, 0
}

// setCut cuts or mends the wire. A cut loses the frames that are on it.
func (w *wire) setCut(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		w.lost += uint64(len(w.queue))
		w.queue, w.bytes = nil, 0
	}
}

func (w *wire) setFaults(f Faults) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = newFaults(f, w.name)
}

func (w *wire) counts() (lost, dropped, delivered uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost, w.dropped, w.delivered
}
