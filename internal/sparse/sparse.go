// Package sparse finds the holes of files, and copies files without filling them.
package sparse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
)

// seek has the values of whence for lseek that find data and holes (unistd.h of each
// system). On a system that is missing, files are all data.
var seek = map[string]struct{ data, hole int }{
	"darwin":  {data: 4, hole: 3},
	"freebsd": {data: 3, hole: 4},
	"linux":   {data: 3, hole: 4},
}

// NextData returns the first range of data of f at or after off: start and end are
// offsets, and off is not after size, the length of f. If no data follows, both are
// size. If the system or the file system cannot tell, all is data. The offset of f
// changes.
func NextData(f *os.File, off, size int64) (start, end int64, err error) {
	whence, ok := seek[runtime.GOOS]
	if !ok {
		return off, size, nil
	}
	start, err = f.Seek(off, whence.data)
	switch {
	case errors.Is(err, syscall.ENXIO): // no data from off on
		return size, size, nil
	case errors.Is(err, syscall.EINVAL), errors.Is(err, errors.ErrUnsupported):
		return off, size, nil
	case err != nil:
		return 0, 0, err
	case start < off:
		return 0, 0, fmt.Errorf("%s: the system reports data at %d, before %d", f.Name(), start, off)
	}
	end, err = f.Seek(start, whence.hole)
	if err != nil {
		return 0, 0, err
	}
	return start, end, nil
}

const (
	// blockSize is the unit of the search for zeros, in bytes: the block size of common
	// file systems.
	blockSize = 4 << 10

	bufferSize = 64 * blockSize
)

// Copy copies from to to, which must be empty. Holes, and blocks of zeros, become holes.
// The offsets of both change.
func Copy(to, from *os.File) error {
	size, err := from.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	buffer := make([]byte, bufferSize)
	for end := int64(0); end < size; {
		var start int64
		if start, end, err = NextData(from, end, size); err != nil {
			return err
		}
		n, err := copyBlocks(to, io.NewSectionReader(from, start, end-start), start, buffer)
		if err != nil {
			return err
		}
		if n < end-start {
			return fmt.Errorf("%s: %w", from.Name(), io.ErrUnexpectedEOF)
		}
	}
	return to.Truncate(size)
}

// CopyFile is Copy for paths. The file at to may exist, but must be empty.
func CopyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	return errors.Join(Copy(out, in), out.Close())
}

// CopyFrom copies r to to, which must be empty, and returns the number of bytes. Blocks
// of zeros become holes.
func CopyFrom(to *os.File, r io.Reader) (size int64, err error) {
	if size, err = copyBlocks(to, r, 0, make([]byte, bufferSize)); err != nil {
		return size, err
	}
	return size, to.Truncate(size)
}

// copyBlocks copies r to to at off, but for its blocks of zeros, and returns the number
// of bytes.
func copyBlocks(to *os.File, r io.Reader, off int64, buffer []byte) (size int64, err error) {
	for {
		n, err := io.ReadFull(r, buffer)
		if err := writeBlocks(to, buffer[:n], off+size); err != nil {
			return size, err
		}
		size += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return size, nil
		}
		if err != nil {
			return size, err
		}
	}
}

var zeros [blockSize]byte

// writeBlocks writes b at off, but for its blocks of zeros. It writes blocks that follow
// each other at once.
func writeBlocks(to *os.File, b []byte, off int64) error {
	isZero := func(at int) bool {
		block := b[at:min(at+blockSize, len(b))]
		return bytes.Equal(block, zeros[:len(block)])
	}
	for at := 0; at < len(b); {
		if isZero(at) {
			at += blockSize
			continue
		}
		end := at + blockSize
		for end < len(b) && !isZero(end) {
			end += blockSize
		}
		end = min(end, len(b))
		if _, err := to.WriteAt(b[at:end], off+int64(at)); err != nil {
			return err
		}
		at = end
	}
	return nil
}
