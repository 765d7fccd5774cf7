package qcow2

import (
	"bytes"
	"fmt"
	"strings"
)

// A Comparison is the result of Compare, in the terms of qemu-img compare.
type Comparison struct {
	// Result is the first difference.
	Result ComparisonResult
	// Offset is the start of the first sector of 512 bytes that differs, in
	// bytes. It is 0 for Identical and SizeMismatch.
	Offset int64
	// SizesDiffer says that the sizes differ and that the disks are the same up
	// to the end of the smaller one. The disks are Identical if the larger one
	// is zero after that.
	SizesDiffer bool
}

// A ComparisonResult is a kind of difference.
type ComparisonResult int

const (
	Identical       ComparisonResult = iota
	ContentMismatch                  // guest data differs
	SizeMismatch                     // only with strict comparison
	StatusMismatch                   // only with strict comparison: one is allocated, zero or compressed where the other is not
)

// A CompareError is an error that ended a comparison without a result.
type CompareError struct {
	Disk   int   // 0 for the first disk, 1 for the second
	Offset int64 // guest offset in bytes
	// Read says that guest data could not be read. Otherwise a table could not
	// be read.
	Read bool
	Err  error
}

func (e *CompareError) Error() string {
	return fmt.Sprintf("qcow2: comparison at guest offset %d: %s", e.Offset, strings.TrimPrefix(e.Err.Error(), "qcow2: "))
}

func (e *CompareError) Unwrap() error { return e.Err }

// compareBuffer is the number of bytes that are compared at a time, as in
// qemu-img.
const compareBuffer = 2 << 20

// Compare compares the contents of two disks. It does not read ranges that are
// zero in both, so the time depends on the allocated data. The larger disk must
// be zero after the end of the smaller one. A strict comparison also finds
// differences in size and allocation. All errors are of type *CompareError.
func Compare(a, b *Disk, strict bool) (Comparison, error) {
	c := comparer{disks: [2]*Disk{a, b}}
	for i, d := range c.disks {
		c.probers[i] = newProber(d, strict)
		c.buffers[i] = make([]byte, compareBuffer)
	}
	if strict && a.size != b.size {
		return Comparison{Result: SizeMismatch}, nil
	}
	result, err := c.common(min(a.size, b.size), strict)
	if err != nil || result.Result != Identical || a.size == b.size {
		return result, err
	}
	larger := 0
	if b.size > a.size {
		larger = 1
	}
	result, err = c.rest(larger, min(a.size, b.size))
	result.SizesDiffer = true
	return result, err
}

type comparer struct {
	disks   [2]*Disk
	probers [2]*prober
	buffers [2][]byte
}

// common compares the disks up to end, which is in both.
func (c *comparer) common(end int64, strict bool) (Comparison, error) {
	for off := int64(0); off < end; {
		var s [2]status
		for i, p := range c.probers {
			var err error
			if s[i], err = c.status(i, p, off); err != nil {
				return Comparison{}, err
			}
		}
		length := min(s[0].length, s[1].length)
		if strict && s[0].flags != s[1].flags {
			return Comparison{Result: StatusMismatch, Offset: off}, nil
		}
		length = min(length, end-off)
		var at int64
		var err error
		switch zero0, zero1 := s[0].has(statusZero), s[1].has(statusZero); {
		case zero0 && zero1:
			at = -1
		case zero0:
			length = min(length, compareBuffer)
			at, err = c.firstNonZero(1, off, length)
		case zero1:
			length = min(length, compareBuffer)
			at, err = c.firstNonZero(0, off, length)
		default:
			length = min(length, compareBuffer)
			at, err = c.firstDifference(off, length)
		}
		if err != nil {
			return Comparison{}, err
		}
		if at >= 0 {
			return Comparison{Result: ContentMismatch, Offset: off + at}, nil
		}
		off += length
	}
	return Comparison{}, nil
}

// rest finds data that is not zero in disk i from off.
func (c *comparer) rest(i int, off int64) (Comparison, error) {
	for off < c.disks[i].size {
		s, err := c.status(i, c.probers[i], off)
		if err != nil {
			return Comparison{}, err
		}
		if !s.has(statusZero) {
			s.length = min(s.length, compareBuffer)
			at, err := c.firstNonZero(i, off, s.length)
			if err != nil {
				return Comparison{}, err
			}
			if at >= 0 {
				return Comparison{Result: ContentMismatch, Offset: off + at}, nil
			}
		}
		off += s.length
	}
	return Comparison{}, nil
}

func (c *comparer) status(i int, p *prober, off int64) (status, error) {
	s, err := p.chainStatus(off, c.disks[i].size-off)
	if err != nil {
		return s, &CompareError{Disk: i, Offset: off, Err: err}
	}
	return s, nil
}

func (c *comparer) read(i int, off, length int64) ([]byte, error) {
	b := c.buffers[i][:length]
	if _, err := c.disks[i].ReadAt(b, off); err != nil {
		return nil, &CompareError{Disk: i, Offset: off, Read: true, Err: err}
	}
	return b, nil
}

// firstDifference returns the first sector in which the disks differ, in bytes
// from off, or -1.
func (c *comparer) firstDifference(off, length int64) (int64, error) {
	// Both disks are read at the same time.
	type result struct {
		b   []byte
		err error
	}
	second := make(chan result, 1)
	go func() {
		b, err := c.read(1, off, length)
		second <- result{b, err}
	}()
	a, err := c.read(0, off, length)
	b := <-second
	if err == nil {
		err = b.err
	}
	if err != nil {
		return 0, err
	}
	if bytes.Equal(a, b.b) {
		return -1, nil
	}
	for at := 0; ; at += sectorSize {
		end := min(at+sectorSize, len(a))
		if !bytes.Equal(a[at:end], b.b[at:end]) {
			return int64(at), nil
		}
	}
}

var zeroSector [sectorSize]byte

// firstNonZero returns the first sector of disk i that is not all zero, in
// bytes from off, or -1.
func (c *comparer) firstNonZero(i int, off, length int64) (int64, error) {
	b, err := c.read(i, off, length)
	if err != nil {
		return 0, err
	}
	for at := 0; at < len(b); at += sectorSize {
		end := min(at+sectorSize, len(b))
		if !bytes.Equal(b[at:end], zeroSector[:end-at]) {
			return int64(at), nil
		}
	}
	return -1, nil
}
