package qcow2

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// mapping has the L1 and L2 tables of a Writer's image.
type mapping struct {
	tables   *tableCache
	counts   *refcounts
	extended bool

	l1        []uint64 // position of each L2 table in clusters, 0 without one
	inherited []bool   // L2 tables of an existing image, which do not change; or nil
	changed   bool     // whether an entry was replaced
	entrySize uint64
	perTable  uint64 // entries in an L2 table
}

func newMapping(tables *tableCache, counts *refcounts, p *params) *mapping {
	return &mapping{
		tables:    tables,
		counts:    counts,
		extended:  p.extendedL2,
		l1:        make([]uint64, ceilDiv(p.size, p.l2Coverage())),
		entrySize: p.l2EntrySize(),
		perTable:  p.clusterSize / p.l2EntrySize(),
	}
}

// get returns the entry of a guest cluster.
func (m *mapping) get(cluster uint64) (e l2Entry, err error) {
	l2 := m.l1[cluster/m.perTable]
	if l2 == 0 {
		return e, nil
	}
	b, err := m.tables.read(l2)
	if err != nil {
		return e, err
	}
	b = b[cluster%m.perTable*m.entrySize:]
	e.descriptor = binary.BigEndian.Uint64(b)
	if m.extended {
		e.bitmap = binary.BigEndian.Uint64(b[8:])
	}
	return e, nil
}

// set replaces the entry of a guest cluster.
func (m *mapping) set(cluster uint64, e l2Entry) error {
	index := cluster / m.perTable
	l2 := &m.l1[index]
	if *l2 == 0 && e == (l2Entry{}) {
		return nil
	}
	m.changed = true
	switch {
	case *l2 == 0:
		position, err := m.counts.allocate()
		if err != nil {
			return err
		}
		if err := m.tables.create(position); err != nil {
			return err
		}
		*l2 = position
	case m.inherited != nil && m.inherited[index]:
		if err := m.copyTable(l2); err != nil {
			return err
		}
		m.inherited[index] = false
	}
	b, err := m.tables.change(*l2)
	if err != nil {
		return err
	}
	b = b[cluster%m.perTable*m.entrySize:]
	binary.BigEndian.PutUint64(b, e.descriptor)
	if m.extended {
		binary.BigEndian.PutUint64(b[8:], e.bitmap)
	}
	return nil
}

// copyTable replaces an L2 table by a copy.
func (m *mapping) copyTable(l2 *uint64) error {
	position, err := m.counts.allocate()
	if err != nil {
		return err
	}
	old, err := m.tables.read(*l2)
	if err != nil {
		return err
	}
	if err := m.tables.createFrom(position, bytes.Clone(old)); err != nil {
		return err
	}
	clusterSize := m.perTable * m.entrySize
	if err := m.counts.free(*l2*clusterSize, clusterSize); err != nil {
		return err
	}
	*l2 = position
	return nil
}

// compressedEntry returns the L2 entry for compressed data of length bytes at
// offset ("Compressed Clusters Descriptor").
func compressedEntry(offset, length uint64, clusterBits uint32) (l2Entry, error) {
	offsetBits := 62 - (clusterBits - 8)
	if offset+length > 1<<offsetBits {
		return l2Entry{}, fmt.Errorf("qcow2: the image has more than %d bytes, after which clusters of %d bytes cannot be compressed", uint64(1)<<offsetBits, 1<<clusterBits)
	}
	more := (offset+length-1)/sectorSize - offset/sectorSize // sectors after the first
	return l2Entry{descriptor: entryCompressed | more<<offsetBits | offset}, nil
}
