package qcow2

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// A layer is a member of the backing chain of an open Disk.
type layer struct {
	Layer
	depth int   // 0 is the top layer
	size  int64 // virtual size in bytes

	file     *file // the image, or the raw disk
	data     *file // contains normal clusters: file, or the external data file
	external bool  // data is an external data file

	// Of a qcow2 layer:
	tables              *cache
	l1Offset, l1Entries int64
	clusterBits         uint
	entryBits           uint // log2 of the size of an L2 entry in bytes
	subclusters         uint // per cluster, 1 without extended L2 entries
	subclusterBits      uint
	l2Bits              uint // log2 of the bytes of guest data that an L2 table maps

	preallocation preallocationCheck
}

func (l *layer) setGeometry() {
	l.l1Offset, l.l1Entries = int64(l.Image.Header.L1TableOffset), int64(l.Image.Header.L1Size)
	l.clusterBits = uint(l.Image.Header.ClusterBits)
	l.entryBits, l.subclusters = uint(bits.TrailingZeros(l2EntrySize)), 1
	if l.Image.ExtendedL2() {
		l.entryBits, l.subclusters = uint(bits.TrailingZeros(extendedL2EntrySize)), subclustersPerCluster
	}
	l.subclusterBits = l.clusterBits - uint(bits.TrailingZeros(l.subclusters))
	l.l2Bits = l.clusterBits - l.entryBits + l.clusterBits
}

// subclustersPerCluster is the number of subclusters that an extended L2 entry
// describes.
const subclustersPerCluster = 32

// errorf makes an error that names the layer.
func (l *layer) errorf(format string, args ...any) error {
	if l.Path != "" {
		format, args = "qcow2: %s: "+format, append([]any{l.Path}, args...)
	} else {
		format = "qcow2: " + format
	}
	return fmt.Errorf(format, args...)
}

// A clusterKind says where guest data comes from.
type clusterKind uint8

const (
	unallocated clusterKind = iota // from the backing file
	zero                           // reads as zeros
	normal                         // from the data file at a host offset
	compressed                     // from a compressed cluster
)

// A run is guest data of one kind. If it has an offset in the data file, it is
// contiguous there.
type run struct {
	kind   clusterKind
	length int64 // in bytes
	// host is the offset in the data file. Zero and unallocated subclusters may
	// have one, too.
	host    int64
	hasHost bool
	// descriptor is the L2 entry of a compressed cluster.
	descriptor uint64
}

// run returns the run at guest offset off in this layer, without the layers
// below. It has at least one byte and at most limit bytes. off+limit must not
// exceed the size of the layer.
func (l *layer) run(off, limit int64) (run, error) {
	if l.Image == nil {
		return run{kind: normal, length: limit, host: off, hasHost: true}, nil
	}
	l1Index := off >> l.l2Bits
	l2Offset, err := l.l2TableOffset(l1Index)
	if err != nil {
		return run{}, err
	}
	if l2Offset == 0 {
		return l.runWithoutTables(off, limit, l1Index)
	}
	return l.runInTable(off, limit, l1Index, l2Offset)
}

// tableSlice is the part of a table, in bytes, that is read and cached at a
// time.
const tableSlice = 16 << 10

// slice returns the part of a table that contains byte at of the table, and the
// byte at which that part begins.
func (l *layer) slice(offset, length, at int64) (part []byte, start int64, err error) {
	start = at / tableSlice * tableSlice
	size := min(length-start, tableSlice)
	part, err = l.tables.get(cacheKey{l.depth, offset + start, size}, func() ([]byte, error) {
		b := make([]byte, size)
		return b, l.file.readAt(b, offset+start)
	})
	return part, start, err
}

// l1Slice returns the part of the L1 table from the entry with the given index.
// It is empty after the end of the table.
func (l *layer) l1Slice(index int64) ([]byte, error) {
	if index >= l.l1Entries {
		return nil, nil
	}
	part, start, err := l.slice(l.l1Offset, l.l1Entries*l1EntrySize, index*l1EntrySize)
	if err != nil {
		return nil, l.errorf("L1 table at offset %d: %w", l.l1Offset, err)
	}
	return part[index*l1EntrySize-start:], nil
}

// l2TableOffset returns the offset of the L2 table in the L1 entry with the
// given index, or 0 if there is no L2 table.
func (l *layer) l2TableOffset(l1Index int64) (int64, error) {
	part, err := l.l1Slice(l1Index)
	if err != nil || len(part) == 0 {
		return 0, err
	}
	offset := int64(binary.BigEndian.Uint64(part) & entryOffset)
	clusterSize := int64(1) << l.clusterBits
	switch {
	case offset%clusterSize != 0:
		return 0, l.errorf("L1 table at offset %d, entry %d: offset of the L2 table is %d, which is not a multiple of the cluster size %d", l.l1Offset, l1Index, offset, clusterSize)
	case offset >= max(1, l.FileSize): // its end may be missing
		return 0, l.errorf("L1 table at offset %d, entry %d: offset of the L2 table is %d, but the file of %d bytes ends before the table", l.l1Offset, l1Index, offset, l.FileSize)
	}
	return offset, nil
}

// runWithoutTables returns the unallocated run at off. The L1 entry with the
// given index has no L2 table, and the run covers all following entries without
// one.
func (l *layer) runWithoutTables(off, limit, l1Index int64) (run, error) {
	r := run{kind: unallocated}
	for {
		part, err := l.l1Slice(l1Index)
		if err != nil {
			return run{}, err
		}
		if len(part) == 0 {
			r.length = limit
			return r, nil
		}
		for ; len(part) > 0; part = part[l1EntrySize:] {
			r.length = l1Index<<l.l2Bits - off
			if r.length >= limit {
				r.length = limit
				return r, nil
			}
			if binary.BigEndian.Uint64(part)&entryOffset != 0 {
				return r, nil
			}
			l1Index++
		}
	}
}

// runInTable returns the run at off from the L2 table at l2Offset. It ends at
// the latest with the part of the table that is read at a time.
func (l *layer) runInTable(off, limit, l1Index, l2Offset int64) (run, error) {
	entrySize := int64(1) << l.entryBits
	index := off >> l.clusterBits & (1<<(l.clusterBits-l.entryBits) - 1)
	part, start, err := l.slice(l2Offset, 1<<l.clusterBits, index*entrySize)
	if err != nil {
		return run{}, l.errorf("L2 table at offset %d (L1 entry %d): %w", l2Offset, l1Index, err)
	}
	part = part[index*entrySize-start:]

	sub := uint(off>>l.subclusterBits) & (l.subclusters - 1)
	inSub := off & (1<<l.subclusterBits - 1)
	var r run
	for ; len(part) > 0 && r.length < limit; part = part[entrySize:] {
		e := l2Entry{descriptor: binary.BigEndian.Uint64(part)}
		if l.subclusters > 1 {
			e.bitmap = binary.BigEndian.Uint64(part[8:])
		}
		next, err := l.clusterRun(e, sub, off+r.length)
		if err != nil {
			if r.length == 0 {
				return run{}, l.errorf("L2 table at offset %d (L1 entry %d), entry %d: %w", l2Offset, l1Index, index, err)
			}
			break // reported when the run gets there
		}
		if r.length == 0 {
			r = next
			r.length -= inSub
			r.host += inSub
		} else if r.continuedBy(next) {
			r.length += next.length
		} else {
			break
		}
		if sub+uint(next.length>>l.subclusterBits) < l.subclusters {
			break // the cluster goes on with another kind
		}
		index, sub = index+1, 0
	}
	r.length = min(r.length, limit)
	return r, nil
}

// continuedBy reports whether next, which follows r in the disk, has the same
// kind and follows r in the data file, too. Each compressed cluster is a run.
func (r *run) continuedBy(next run) bool {
	return r.kind == next.kind && r.kind != compressed &&
		r.hasHost == next.hasHost && (!r.hasHost || r.host+r.length == next.host)
}
