package qcow2

import (
	"bufio"
	"encoding/binary"
	"io"
)

// sparseWriter writes a file front to back, and leaves holes where there are
// runs of zeros and w can have them. It keeps the first error, which finish
// returns.
type sparseWriter struct {
	w      *bufio.Writer
	offset uint64 // of the next byte, from the start of the image
	err    error

	// holes is w, if it can be extended by a hole at its end; else nil.
	holes truncater
	// start is the offset of the image in holes.
	start int64
}

// truncater is what *os.File offers for leaving holes.
type truncater interface {
	io.Seeker
	Truncate(size int64) error
}

// smallestHole is the length in bytes from which on a hole is left: the block
// size of the usual file systems, below which nothing is saved.
const smallestHole = 4096

func newSparseWriter(w io.Writer) *sparseWriter {
	s := &sparseWriter{w: bufio.NewWriterSize(w, 64<<10)}
	f, ok := w.(truncater)
	if !ok {
		return s
	}
	current, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return s // a pipe
	}
	// Only what lies behind the end of the file reads as zeros.
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		s.err = err
		return s
	}
	if end != current {
		_, s.err = f.Seek(current, io.SeekStart)
		return s
	}
	if f.Truncate(current) != nil {
		return s // a device
	}
	s.holes, s.start = f, current
	return s
}

func (s *sparseWriter) write(b []byte) {
	if s.err == nil {
		_, s.err = s.w.Write(b)
		s.offset += uint64(len(b))
	}
}

func (s *sparseWriter) writeUint64(v uint64) {
	s.write(binary.BigEndian.AppendUint64(s.w.AvailableBuffer(), v))
}

// zeros is what skipTo writes where there is no hole.
var zeros [64 << 10]byte

// skipTo fills up with zeros to offset, which must not lie behind.
func (s *sparseWriter) skipTo(offset uint64) {
	if s.holes != nil && offset-s.offset >= smallestHole {
		s.hole(offset)
		return
	}
	for s.err == nil && s.offset < offset {
		s.write(zeros[:min(offset-s.offset, uint64(len(zeros)))])
	}
}

// hole extends the file to offset. It truncates rather than only seeks: that
// makes the length right where nothing follows, and works on files opened with
// O_APPEND.
func (s *sparseWriter) hole(offset uint64) {
	if s.err == nil {
		s.err = s.w.Flush()
	}
	if s.err == nil {
		s.err = s.holes.Truncate(s.start + int64(offset))
	}
	if s.err == nil {
		_, s.err = s.holes.Seek(0, io.SeekEnd)
	}
	s.offset = offset
}

// finish writes what is buffered and makes the image length bytes long.
func (s *sparseWriter) finish(length uint64) error {
	if s.holes != nil && s.offset < length {
		// However short: where a block begins with it, that block is saved.
		s.hole(length)
		return s.err
	}
	s.skipTo(length)
	if s.err == nil {
		s.err = s.w.Flush()
	}
	return s.err
}
