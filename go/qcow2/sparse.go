package qcow2

import (
	"bufio"
	"encoding/binary"
	"io"
)

// sparseWriter writes a file from front to back. It leaves holes for runs of
// zeros where w supports them. It keeps the first error, which finish returns.
type sparseWriter struct {
	w      *bufio.Writer
	taken  takenCounter
	offset uint64 // of the next byte, from the start of the image
	err    error

	// holes is w, if it can be extended by a hole at its end; else nil.
	holes truncater
	// start is the offset of the image in holes.
	start int64
}

// truncater has the methods of *os.File that leave holes.
type truncater interface {
	io.Seeker
	Truncate(size int64) error
}

// takenCounter counts the bytes that w has taken.
type takenCounter struct {
	w io.Writer
	n int64
}

func (c *takenCounter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	n = min(max(n, 0), len(b))
	if n < len(b) && err == nil {
		err = io.ErrShortWrite
	}
	c.n += int64(n)
	return n, err
}

// smallestHole is the length in bytes of the shortest hole: the block size of
// common file systems. A shorter hole saves no space.
const smallestHole = 4096

func newSparseWriter(w io.Writer) *sparseWriter {
	s := &sparseWriter{taken: takenCounter{w: w}}
	s.w = bufio.NewWriterSize(&s.taken, 64<<10)
	f, ok := w.(truncater)
	if !ok {
		return s
	}
	current, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return s // a pipe
	}
	// Only a file that is extended reads as zeros.
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

// writeSparse is write, but leaves holes for blocks of zeros where w supports
// them.
func (s *sparseWriter) writeSparse(b []byte) {
	for len(b) > 0 && s.holes != nil && s.err == nil {
		n := blocks(b, s.offset, true)
		s.skipTo(s.offset + uint64(n))
		b = b[n:]
		n = blocks(b, s.offset, false)
		s.write(b[:n])
		b = b[n:]
	}
	s.write(b)
}

// blocks returns the length of the blocks at the beginning of b that are all
// zero, or all not. b begins at offset in the image.
func blocks(b []byte, offset uint64, zero bool) (n int) {
	for n < len(b) {
		end := min(len(b), n+smallestHole-int((offset+uint64(n))%smallestHole))
		if isZero(b[n:end]) != zero {
			break
		}
		n = end
	}
	return n
}

func (s *sparseWriter) writeUint64(v uint64) {
	s.write(binary.BigEndian.AppendUint64(s.w.AvailableBuffer(), v))
}

var zeros [64 << 10]byte

// skipTo writes zeros up to offset, or leaves a hole. The offset must not be
// before s.offset.
func (s *sparseWriter) skipTo(offset uint64) {
	if s.holes != nil && offset-s.offset >= smallestHole {
		s.hole(offset)
		return
	}
	for s.err == nil && s.offset < offset {
		s.write(zeros[:min(offset-s.offset, uint64(len(zeros)))])
	}
}

// hole extends the file to offset. It truncates the file instead of only
// seeking. The length is then right at the end of the image, and files opened
// with O_APPEND work.
func (s *sparseWriter) hole(offset uint64) {
	if s.err == nil {
		s.err = s.w.Flush()
	}
	if s.err == nil {
		s.err = s.holes.Truncate(s.start + int64(offset))
	}
	if s.err == nil {
		s.taken.n = int64(offset)
		_, s.err = s.holes.Seek(0, io.SeekEnd)
	}
	s.offset = offset
}

// finish writes the buffer and makes the image length bytes long.
func (s *sparseWriter) finish(length uint64) error {
	if s.holes != nil && s.offset < length {
		// A short hole, too, saves a block if it begins at one.
		s.hole(length)
		return s.err
	}
	s.skipTo(length)
	if s.err == nil {
		s.err = s.w.Flush()
	}
	return s.err
}
