package qcow2

import (
	"io"
	"runtime"
	"sync"
)

const (
	// pieceBytes is the size of one read of WriteTo. It is a multiple of every
	// cluster size, so that no compressed cluster is read twice.
	pieceBytes = 2 << 20
	// smallestGap is the length of the shortest run of zeros that WriteTo does
	// not read.
	smallestGap = 64 << 10
)

// WriteTo writes the whole disk to w and returns the number of bytes that w has
// taken. It reads ahead and decompresses on all processors that Go may use, and
// needs about 4 MiB of memory for each. All reads are over when it returns. If
// w is an *os.File positioned at its end, blocks of zeros become holes where the
// file system supports them, also zeros that the image stores as data.
func (d *Disk) WriteTo(w io.Writer) (int64, error) {
	var (
		ahead  = runtime.GOMAXPROCS(0)
		pieces = make(chan *piece, ahead)
		stop   = make(chan struct{})
	)
	go d.readAhead(pieces, stop)
	defer func() {
		close(stop)
		for p := range pieces {
			p.free()
		}
	}()

	out := newSparseWriter(w)
	for p := range pieces {
		<-p.done
		if p.err != nil {
			p.free()
			out.finish(out.offset)
			return out.taken.n, p.err
		}
		out.skipTo(uint64(p.start))
		out.writeSparse(p.data)
		p.free()
		if out.err != nil {
			return out.taken.n, out.err
		}
	}
	err := out.finish(uint64(d.size))
	if err == nil {
		err = d.checkLength()
	}
	return out.taken.n, err
}

// A piece of a disk is being read until done is closed.
type piece struct {
	start int64
	data  []byte
	err   error
	done  chan struct{}
}

var pieceBuffers = sync.Pool{New: func() any { return new([pieceBytes]byte) }}

// free waits for the read to end and releases the buffer.
func (p *piece) free() {
	<-p.done
	if cap(p.data) == pieceBytes {
		pieceBuffers.Put((*[pieceBytes]byte)(p.data[:pieceBytes]))
	}
}

// readAhead sends the parts of the disk that are not zero to pieces, in order.
// It reads as many of them at a time as the channel holds. It ends after the
// last part, after an error, or when stop is closed. It closes pieces at the
// end.
func (d *Disk) readAhead(pieces chan<- *piece, stop <-chan struct{}) {
	defer close(pieces)
	send := func(p *piece) bool {
		select {
		case pieces <- p:
			return true
		case <-stop:
			p.free()
			return false
		}
	}
	var start int64 // of the next piece
	readTo := func(end int64) bool {
		for start < end {
			// Pieces begin at multiples of their size, and so at a cluster.
			next := min(end, (start/pieceBytes+1)*pieceBytes)
			p := &piece{start: start, done: make(chan struct{})}
			p.data = pieceBuffers.Get().(*[pieceBytes]byte)[:next-start]
			go func() {
				defer close(p.done)
				_, p.err = d.ReadAt(p.data, p.start)
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
		select {
		case <-stop:
			return
		default:
		}
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
