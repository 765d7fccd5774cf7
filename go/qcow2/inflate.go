package qcow2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// This file decompresses deflate (RFC 1951) from one slice to another. Package
// compress/flate reads from a stream and copies everything twice, which takes two to
// three times as long.

var (
	errInflateShort    = errors.New("the compressed data ends too early")
	errInflateDistance = errors.New("a match begins before the data")
	errInflateBlock    = errors.New("a block has a type or a length that is not valid")
	errInflateEndless  = errors.New("a block has no code for its end")
)

// An inflater decompresses clusters. Its tables are used again.
type inflater struct {
	src    []byte
	pos    int    // of the next byte in src
	buffer uint64 // the next bits
	n      uint   // number of bits in the buffer
	past   uint   // zero bytes after the end of src that were added to the buffer

	literals  [literalEntries]inflateEntry
	distances [distanceEntries]inflateEntry
	precode   [1 << precodeBits]inflateEntry
	lengths   [maxLiterals + maxDistances]uint8
}

var inflaters = sync.Pool{New: func() any { return new(inflater) }}

// inflate is the Decompressor for deflate.
func inflate(dst, src []byte) error {
	d := inflaters.Get().(*inflater)
	defer inflaters.Put(d)
	d.src, d.pos, d.buffer, d.n, d.past = src, 0, 0, 0, 0
	n, err := d.run(dst)
	d.src = nil
	if err != nil {
		return fmt.Errorf("decompression with zlib failed after %d of %d bytes: %w", n, len(dst), err)
	}
	return nil
}

// run fills dst and returns the number of bytes.
func (d *inflater) run(dst []byte) (n int, err error) {
	for last := false; n < len(dst); {
		if last {
			return n, errInflateShort
		}
		d.refill()
		last = d.take(1) == 1
		switch d.take(2) {
		case 0:
			n, err = d.stored(dst, n)
		case 1:
			if err = d.fixedCodes(); err == nil {
				n, err = d.codes(dst, n)
			}
		case 2:
			if err = d.dynamicCodes(); err == nil {
				n, err = d.codes(dst, n)
			}
		default:
			err = errInflateBlock
		}
		if err == nil && d.past*8 > d.n {
			err = errInflateShort
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// refill makes the buffer at least 56 bits long. After the end of src there are
// zeros.
func (d *inflater) refill() {
	if len(d.src)-d.pos >= 8 {
		d.buffer |= binary.LittleEndian.Uint64(d.src[d.pos:]) << d.n
		d.pos += int((63 - d.n) >> 3)
		d.n |= 56
		return
	}
	for d.n <= 56 {
		if d.pos < len(d.src) {
			d.buffer |= uint64(d.src[d.pos]) << d.n
			d.pos++
		} else {
			d.past++
		}
		d.n += 8
	}
}

// take removes bits from the buffer.
func (d *inflater) take(bits uint) uint {
	v := uint(d.buffer & (1<<bits - 1))
	d.buffer >>= bits
	d.n -= bits
	return v
}

// stored copies a block that is not compressed.
func (d *inflater) stored(dst []byte, n int) (int, error) {
	// The whole bytes in the buffer go back to src.
	bytes := d.n / 8
	if bytes < d.past {
		return n, errInflateShort
	}
	d.pos -= int(bytes - d.past)
	d.buffer, d.n, d.past = 0, 0, 0
	if len(d.src)-d.pos < 4 {
		return n, errInflateShort
	}
	length := int(binary.LittleEndian.Uint16(d.src[d.pos:]))
	if uint16(length) != ^binary.LittleEndian.Uint16(d.src[d.pos+2:]) {
		return n, errInflateBlock
	}
	d.pos += 4
	copied := copy(dst[n:], d.src[d.pos:min(len(d.src), d.pos+length)])
	d.pos += copied
	n += copied
	if copied < length && n < len(dst) {
		return n, errInflateShort
	}
	return n, nil
}

// fixedCodes builds the tables of the fixed codes (section 3.2.6).
func (d *inflater) fixedCodes() error {
	lengths := d.lengths[:maxLiterals+maxDistances]
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		case i < maxLiterals:
			lengths[i] = 8
		default:
			lengths[i] = 5
		}
	}
	return d.build(maxLiterals, maxDistances)
}

func (d *inflater) build(literals, distances int) error {
	if err := buildInflateTable(d.literals[:], literalBits, d.lengths[:literals], literalSymbols[:]); err != nil {
		return err
	}
	return buildInflateTable(d.distances[:], distanceBits, d.lengths[literals:literals+distances], distanceSymbols[:])
}

// precodeOrder is the order of the code lengths of code lengths (section 3.2.7).
var precodeOrder = [...]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamicCodes reads the codes of a block and builds their tables.
func (d *inflater) dynamicCodes() error {
	d.refill()
	literals, distances, precodes := int(d.take(5))+257, int(d.take(5))+1, int(d.take(4))+4
	if literals > 286 || distances > 30 {
		return errInflateCode
	}
	var precode [19]uint8
	for i := range precodes {
		d.refill()
		precode[precodeOrder[i]] = uint8(d.take(3))
	}
	if err := buildInflateTable(d.precode[:], precodeBits, precode[:], precodeSymbols[:]); err != nil {
		return err
	}
	all := d.lengths[:literals+distances]
	for i := 0; i < len(all); {
		d.refill()
		e := d.precode[d.buffer&(1<<precodeBits-1)]
		if e&inflateKinds == inflateInvalid || e == 0 {
			return errInflateCode
		}
		d.take(uint(e & 0xff))
		symbol := e >> 16
		if symbol < 16 {
			all[i] = uint8(symbol)
			i++
			continue
		}
		value, repeat := uint8(0), 0
		switch symbol {
		case 16:
			if i == 0 {
				return errInflateCode
			}
			value, repeat = all[i-1], 3+int(d.take(2))
		case 17:
			repeat = 3 + int(d.take(3))
		default:
			repeat = 11 + int(d.take(7))
		}
		if repeat > len(all)-i {
			return errInflateCode
		}
		for range repeat {
			all[i] = value
			i++
		}
	}
	if all[256] == 0 {
		return errInflateEndless
	}
	return d.build(literals, distances)
}
