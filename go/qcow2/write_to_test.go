package qcow2_test

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// A takingWriter takes room bytes and then returns err. A nil error makes a
// short write, which io.Writer does not allow.
type takingWriter struct {
	room  int
	taken int64
	err   error
}

func (w *takingWriter) Write(b []byte) (int, error) {
	n := min(len(b), w.room)
	w.room -= n
	w.taken += int64(n)
	if n < len(b) {
		return n, w.err
	}
	return n, nil
}

// TestWriteToCountsTakenBytes compares the count of WriteTo with the bytes that
// a writer took before it failed.
func TestWriteToCountsTakenBytes(t *testing.T) {
	disk := make([]byte, 9<<20)
	for _, off := range []int{0, 100, 3 << 20, 5<<20 + 7} {
		copy(disk[off:], "data")
	}
	for _, room := range []int{0, 1, 511, 512, 64 << 10, 64<<10 + 1, 2 << 20, 2<<20 + 300, 3<<20 + 2, len(disk) - 1, len(disk)} {
		for _, failure := range []error{errFull, nil} {
			d, err := qcow2.Open(bytes.NewReader(disk), int64(len(disk)), qcow2.OpenWithFormat(qcow2.FormatRaw))
			if err != nil {
				t.Fatal(err)
			}
			want := failure
			if failure == nil {
				want = io.ErrShortWrite
			}
			if room == len(disk) {
				want = nil
			}
			w := &takingWriter{room: room, err: failure}
			n, err := d.WriteTo(w)
			if n != w.taken || err != want {
				t.Errorf("room for %d bytes: WriteTo returns %d, %v; want %d, %v", room, n, err, w.taken, want)
			}
		}
	}
}

// TestWriteToCountsBytesBeforeReadError checks the count if the disk cannot be
// read to its end.
func TestWriteToCountsBytesBeforeReadError(t *testing.T) {
	const size, readable = 9 << 20, 5 << 20
	d, err := qcow2.Open(bytes.NewReader(make([]byte, readable)), size, qcow2.OpenWithFormat(qcow2.FormatRaw))
	if err != nil {
		t.Fatal(err)
	}
	w := &takingWriter{room: size}
	n, err := d.WriteTo(w)
	if n != w.taken || n > readable || err == nil {
		t.Errorf("WriteTo returns %d, %v; the writer took %d bytes, and %d are readable", n, err, w.taken, readable)
	}
}

// A gatedReader blocks all reads but the first until its gate opens.
type gatedReader struct {
	gate     chan struct{}
	opening  sync.Once
	failing  bool // whether the first read fails
	reads    atomic.Int64
	inFlight atomic.Int64
	returned atomic.Bool // whether WriteTo has returned
	late     atomic.Bool // whether a read began after that
}

// openSoon opens the gate, but not before its caller can return.
func (r *gatedReader) openSoon() {
	r.opening.Do(func() { time.AfterFunc(20*time.Millisecond, func() { close(r.gate) }) })
}

func (r *gatedReader) ReadAt(p []byte, off int64) (int, error) {
	r.inFlight.Add(1)
	defer r.inFlight.Add(-1)
	if r.returned.Load() {
		r.late.Store(true)
	}
	r.reads.Add(1)
	if off > 0 {
		<-r.gate
	} else if r.failing {
		r.openSoon()
		return 0, errFull
	}
	return len(p), nil
}

// Write fails.
func (r *gatedReader) Write(b []byte) (int, error) {
	r.openSoon()
	return 0, errFull
}

// TestWriteToLeavesNoReaders checks that no read is under way after WriteTo has
// returned an error of its writer or of the disk.
func TestWriteToLeavesNoReaders(t *testing.T) {
	for _, failing := range []bool{false, true} {
		r := &gatedReader{gate: make(chan struct{}), failing: failing}
		d, err := qcow2.Open(r, 100<<20, qcow2.OpenWithFormat(qcow2.FormatRaw))
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.WriteTo(r)
		r.returned.Store(true)
		if !errors.Is(err, errFull) {
			t.Errorf("WriteTo returns %v, want %v", err, errFull)
		}
		if n := r.inFlight.Load(); n != 0 {
			t.Errorf("%d of %d reads are under way after WriteTo", n, r.reads.Load())
		}
		<-r.gate
		if r.late.Load() {
			t.Error("a read began after WriteTo")
		}
	}
}
