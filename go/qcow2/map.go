package qcow2

import (
	"fmt"
	"iter"
	"math"
)

// An Extent is a range of a disk whose data all has one origin, as qemu-img
// map reports it.
type Extent struct {
	Start  int64 // guest offset in bytes
	Length int64 // in bytes
	// Depth is the layer that decides on the range: 0 is the top. Where no
	// layer does, it is the last one that was asked.
	Depth int
	// Present says that the layer holds the range itself, be it as zeros: a
	// backing file put below it would change nothing.
	Present    bool
	Zero       bool // reads as zeros
	Data       bool // a cluster or a part of a raw file holds the range
	Compressed bool
	// Offset is the byte at which the range is stored in File, if HasOffset is
	// set; File is "" where it was opened without a name.
	HasOffset bool
	Offset    int64
	File      string
}

// Map returns what the tables say of the length bytes from guest offset start
// on, in order, in the extents that qemu-img map has: the longest possible
// ones. What lies behind the end of the disk is left out. Nothing is read but
// tables, and reference counts where holes in the files matter; an unallocated
// range costs almost nothing, however long it is. After an error, which is
// handed out together with an empty Extent, nothing follows.
func (d *Disk) Map(start, length int64) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		if start < 0 || length < 0 {
			yield(Extent{}, fmt.Errorf("qcow2: map of %d bytes from offset %d on, at least 0 are needed", length, start))
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

// all is a length that reaches to the end of any disk.
const all = math.MaxInt64

// continuedBy reports whether next, which follows e in the disk, is of the
// same origin.
func (e *Extent) continuedBy(next Extent) bool {
	if e.Length == 0 || e.HasOffset && e.Offset+e.Length != next.Offset {
		return false
	}
	expected := next
	expected.Start, expected.Length, expected.Offset = e.Start, e.Length, e.Offset
	return *e == expected
}

// extent returns the extent from off on, up to length bytes long
// (qemu-img.c, get_block_status).
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
