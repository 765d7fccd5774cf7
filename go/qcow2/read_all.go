package qcow2

import (
	"io"
	"runtime"
	"sync"
)

const (
	// pieceBytes is what WriteTo reads at once: a multiple of every cluster
	// size, so that no compressed cluster is read twice.
	pieceBytes = 2 << 20
	// smallestGap is from how many zero bytes on WriteTo does not read them.
	smallestGap = 64 << 10
)

// WriteTo writes the whole disk to w, from first byte to last, and returns how
// many bytes it has written. It reads ahead and decompresses on all processors
// that Go may use, and holds about four MiB for each. If w is an *os.File
// positioned at its end, long runs of zeros become holes where the file system
// has them.
func (d *Disk) WriteTo(w io.Writer) (int64, error) {
	var (
		ahead  = runtime.GOMAXPROCS(0)
		pieces = make(chan *piece, ahead)
		stop   = make(chan struct{})
	)
	defer close(stop)
	go d.readAhead(pieces, stop)

	out := newSparseWriter(w)
	for p := range pieces {
		<-p.done
		if p.err != nil {
			out.finish(out.offset)
			return int64(out.offset), p.err
		}
		out.skipTo(uint64(p.start))
		out.write(p.data)
		p.free()
		if out.err != nil {
			return int64(out.offset), out.err
		}
	}
	err := out.finish(uint64(d.size))
	return int64(out.offset), err
}

// A piece of a disk is being read until done is closed.
type piece struct {
	start int64
	data  []byte
	err   error
	done  chan struct{}
}

var pieceBuffers = sync.Pool{New: func() any { return new([pieceBytes]byte) }}

func (p *piece) free() {
	if cap(p.data) == pieceBytes {
		pieceBuffers.Put((*[pieceBytes]byte)(p.data[:pieceBytes]))
	}
}

// readAhead sends what is not zero to pieces, in order, and reads as many of
// them at once as the channel holds. It ends when all is sent, an error is, or
// stop is closed.
func (d *Disk) readAhead(pieces chan<- *piece, stop <-chan struct{}) {
	defer close(pieces)
	send := func(p *piece) bool {
		select {
		case pieces <- p:
			return true
		case <-stop:
			return false
		}
	}
	// What is to be read next begins at start.
	var start int64
	readTo := func(end int64) bool {
		for start < end {
			// Pieces begin at multiples of their size, and so of the cluster's.
			next := min(end, (start/pieceBytes+1)*pieceBytes)
			p := &piece{start: start, done: make(chan struct{})}
			p.data = pieceBuffers.Get().(*[pieceBytes]byte)[:next-start]
			go func() {
				_, p.err = d.ReadAt(p.data, p.start)
				close(p.done)
			}()
			if !send(p) {
				return false
			}
			start = next
		}
		return true
	}
	var end int64
	for extent, err := range d.Map(0, all) {
		if err != nil {
			if readTo(end) {
				failed := &piece{start: end, err: err, done: make(chan struct{})}
				close(failed.done)
				send(failed)
			}
			return
		}
		if extent.Zero && extent.Length >= smallestGap {
			if !readTo(extent.Start) {
				return
			}
			start = extent.Start + extent.Length
		}
		end = extent.Start + extent.Length
		if !readTo(end / pieceBytes * pieceBytes) {
			return
		}
	}
	readTo(end)
}
