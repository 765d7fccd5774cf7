package qcow2

import (
	"fmt"
	"iter"
	"math"
)

// An Extent is a range of a disk in which all data has the same origin, as in
// qemu-img map.
type Extent struct {
	Start  int64 // guest offset in bytes
	Length int64 // in bytes
	// Depth is the layer that has the range; 0 is the top. If no layer has it,
	// Depth is the lowest layer that was read.
	Depth int
	// Present says that the layer itself has the range, as data or as zeros: a
	// backing file added below it would change nothing.
	Present    bool
	Zero       bool // reads as zeros
	Data       bool // the range is in a cluster or in a raw file
	Compressed bool
	// Offset is the byte in File at which the range is stored, if HasOffset is
	// set. File is "" if it was opened without a name.
	HasOffset bool
	Offset    int64
	File      string
}

// Map returns the extents of length bytes from guest offset start, in order.
// They are the longest possible ones, as in qemu-img map. It leaves out the
// part after the end of the disk. Map reads only tables, and reference counts if
// holes in the files matter. An unallocated range costs almost nothing,
// whatever its length. An error comes with an empty Extent and is the last
// element.
func (d *Disk) Map(start, length int64) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		if start < 0 || length < 0 {
			yield(Extent{}, fmt.Errorf("qcow2: Map: start = %d and length = %d must not be negative", start, length))
			return
		}
		end := d.size
		if length < d.size-start {
			end = start + length
		}
		p := newProber(d, false)
		var extent Extent
		for off := start; off < end; {
			next, err := p.extent(off, end-off)
			if err != nil {
				if extent.Length == 0 || yield(extent, nil) {
					yield(Extent{}, err)
				}
				return
			}
			off += next.Length
			if extent.continuedBy(next) {
				extent.Length += next.Length
				continue
			}
			if extent.Length > 0 && !yield(extent, nil) {
				return
			}
			extent = next
		}
		if extent.Length > 0 {
			yield(extent, nil)
		}
	}
}

// all is a length that covers any disk.
const all = math.MaxInt64

// continuedBy reports whether next, which follows e in the disk, has the same
// origin.
func (e *Extent) continuedBy(next Extent) bool {
	if e.Length == 0 || e.HasOffset && e.Offset+e.Length != next.Offset {
		return false
	}
	expected := next
	expected.Start, expected.Length, expected.Offset = e.Start, e.Length, e.Offset
	return *e == expected
}

// extent returns the extent at off, with at most length bytes (qemu-img.c,
// get_block_status).
func (p *prober) extent(off, length int64) (Extent, error) {
	for depth := 0; ; depth++ {
		s, err := p.layerStatus(depth, off, length)
		if err != nil {
			return Extent{}, err
		}
		length = s.length
		if s.has(statusData|statusZero) || depth == len(p.disk.layers)-1 {
			e := Extent{
				Start:      off,
				Length:     length,
				Depth:      depth,
				Present:    s.has(statusAllocated),
				Zero:       s.has(statusZero),
				Data:       s.has(statusData),
				Compressed: s.has(statusCompressed),
			}
			if s.has(statusOffset) {
				e.HasOffset, e.Offset, e.File = true, s.host, s.file.path
			}
			return e, nil
		}
	}
}
