package qcow2

import (
	"encoding/binary"
	"io"
	"math"
)

// refcountReader reads the reference counts that an image records.
type refcountReader struct {
	r           io.ReaderAt
	clusterBits uint32
	order       uint32 // log2 of the width of a reference count in bits

	// table is the refcount table up to its last entry that is not zero.
	table []uint64
	// pages are parts of refcount blocks that get has read. The index is the
	// key modulo the number of pages.
	pages []*refcountPage
	err   error
}

// refcountPage is a part of the file.
type refcountPage struct {
	key  uint64 // offset in the file / refcountPageSize
	data [refcountPageSize]byte
}

const (
	refcountPageSize = 4096
	refcountPages    = 1024
)

func newRefcountReader(r io.ReaderAt, image *Image) *refcountReader {
	return &refcountReader{
		r:           r,
		clusterBits: image.Header.ClusterBits,
		order:       image.Header.RefcountOrder,
		pages:       make([]*refcountPage, refcountPages),
	}
}

// perBlock is the number of reference counts in a refcount block.
func (r *refcountReader) perBlock() uint64 { return 8 << r.clusterBits >> r.order }

// maxRefcount is the largest reference count.
func (r *refcountReader) maxRefcount() uint64 { return math.MaxUint64 >> (64 - 1<<r.order) }

// get returns the reference count of a cluster. ok is false if the refcount
// block cannot be read.
func (r *refcountReader) get(cluster uint64) (refcount uint64, ok bool) {
	index := cluster / r.perBlock()
	if index >= uint64(len(r.table)) {
		return 0, true
	}
	block, ok := r.block(index)
	if !ok || block == 0 {
		return 0, ok
	}
	bit := cluster % r.perBlock() << r.order
	page := r.page((block + bit/8) / refcountPageSize)
	if page == nil {
		return 0, false
	}
	// A block begins at a multiple of 512 bytes, so a count is never on two
	// pages.
	start := (block + bit/8) % refcountPageSize
	return refcountAt(page.data[start:], bit%8>>r.order, r.order), true
}

// block returns the offset of the refcount block with the given index, or 0 if
// there is none. ok is false if the offset is not valid.
func (r *refcountReader) block(index uint64) (offset uint64, ok bool) {
	offset = r.table[index] & refcountTableEntryOffset
	return offset, offset&(1<<r.clusterBits-1) == 0 && offset <= maxFileLength-1<<r.clusterBits
}

func (r *refcountReader) page(key uint64) *refcountPage {
	slot := &r.pages[key%refcountPages]
	if *slot == nil {
		*slot = &refcountPage{key: math.MaxUint64}
	}
	page := *slot
	if page.key != key {
		if err := readZeroPadded(r.r, page.data[:], int64(key*refcountPageSize)); err != nil {
			r.err = err
			page.key = math.MaxUint64
			return nil
		}
		page.key = key
	}
	return page
}

// refcountAt returns the count with the given index in b ("Refcount block
// entry").
func refcountAt(b []byte, index uint64, order uint32) uint64 {
	switch order {
	case 3:
		return uint64(b[index])
	case 4:
		return uint64(binary.BigEndian.Uint16(b[2*index:]))
	case 5:
		return uint64(binary.BigEndian.Uint32(b[4*index:]))
	case 6:
		return binary.BigEndian.Uint64(b[8*index:])
	}
	// Several counts share a byte, the first in its lowest bits.
	bit := index << order
	return uint64(b[bit/8]) >> (bit % 8) & (1<<(1<<order) - 1)
}
