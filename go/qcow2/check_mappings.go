package qcow2

import (
	"encoding/binary"
)

// checkMappings counts the references of the active L1 table and of all
// snapshots, and of the L2 tables below them.
func (c *checker) checkMappings() error {
	h := &c.image.Header
	l1Tables := []table{{h.L1TableOffset, c.image.L1Bytes(), true}}
	if c.image.HasDataFile() && h.NbSnapshots > 0 {
		c.corrupt(1, "%d snapshots in an image with an external data file", h.NbSnapshots)
	}
	length, err := c.image.readSnapshots(c.r, func(s *Snapshot) error {
		if h.Version >= 3 && s.extraDataSize < minSnapshotExtraDataV3 {
			c.corrupt(1, "snapshot %q (%s): extra_data_size is %d, version 3 needs %d", s.ID, s.Name, s.extraDataSize, minSnapshotExtraDataV3)
		}
		switch length := uint64(s.L1Size) * l1EntrySize; {
		case s.L1TableOffset%c.clusterSize != 0:
			c.corrupt(1, "snapshot %q (%s): L1 table offset %d is not a multiple of the cluster size", s.ID, s.Name, s.L1TableOffset)
		case length > maxL1Bytes:
			c.corrupt(1, "snapshot %q (%s): L1 table takes %d bytes, QEMU allows %d", s.ID, s.Name, length, maxL1Bytes)
		default:
			l1Tables = append(l1Tables, table{s.L1TableOffset, length, false})
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.refer("snapshot table", h.SnapshotsOffset, uint64(length), 1)

	// A table that several L1 entries point to, as snapshots do, is read once.
	var active, all clusterCounts
	err = c.checkTables("L1 table", l1Tables, func(entry, nActive, nAll uint64) error {
		c.checkL1Entry(entry, nActive, nAll)
		if offset := entry & entryOffset; offset%c.clusterSize == 0 && offset < c.size {
			active.add(offset>>c.clusterBits, nActive)
			all.add(offset>>c.clusterBits, nAll)
		}
		return nil
	})
	if err != nil {
		return err
	}
	l2 := l2Checker{checker: c, external: c.image.HasDataFile(), extended: c.image.ExtendedL2()}
	return all.each(func(cluster, n uint64) error {
		return l2.checkTable(cluster<<c.clusterBits, active.get(cluster), n)
	})
}

// checkL1Entry checks an L1 entry. all is the number of L1 tables with that
// entry, active the number of active ones.
func (c *checker) checkL1Entry(entry, active, all uint64) {
	if entry&l1EntryReserved != 0 {
		c.corrupt(all, "L1 entry %#x has reserved bits set", entry)
	}
	offset := entry & entryOffset
	c.refer("L2 table", offset, c.clusterSize, all)
	if offset%c.clusterSize != 0 {
		c.corrupt(all, "L2 table offset %d is not a multiple of the cluster size", offset)
	}
	if active > 0 && offset != 0 {
		refcount, ok := c.refcounts.get(offset >> c.clusterBits)
		if ok && (refcount == 1) != (entry&entryCopied != 0) {
			c.corrupt(active, "L1 entry %#x: COPIED flag contradicts the refcount %d of the L2 table", entry, refcount)
		}
	}
}

// l2Checker checks L2 tables.
type l2Checker struct {
	*checker
	external bool // data is in an external data file
	extended bool // entries have subclusters
	buffer   []byte
	// active and all are the numbers of references to the table from the active
	// L1 table and from all L1 tables.
	active, all uint64
	// flags is the number of references whose COPIED flags are checked.
	flags uint64
}

func (c *l2Checker) checkTable(offset, active, all uint64) error {
	c.active, c.all, c.flags = active, all, active
	if offset == 0 {
		// The L1 entry has only reserved bits. Some checks of QEMU take it for
		// allocated, and others do not.
		c.flags = 0
	}
	if c.buffer == nil {
		c.buffer = make([]byte, min(c.clusterSize, c.size))
	}
	if err := readZeroPadded(c.r, c.buffer, int64(offset)); err != nil {
		return err
	}
	size := l2EntrySize
	if c.extended {
		size = extendedL2EntrySize
	}
	var next uint64 // offset after the last allocated cluster
	for b := c.buffer; len(b) >= size; b = b[size:] {
		entry, bitmap := binary.BigEndian.Uint64(b), uint64(0)
		if c.extended {
			bitmap = binary.BigEndian.Uint64(b[l2EntrySize:])
		}
		switch {
		case entry|bitmap == 0:
		case entry&entryCompressed != 0:
			c.checkCompressed(entry, bitmap)
		default:
			next = c.checkStandard(entry, bitmap, next)
		}
	}
	return nil
}

// checkCompressed checks a "Compressed Clusters Descriptor".
func (c *l2Checker) checkCompressed(entry, bitmap uint64) {
	if entry&entryCopied != 0 {
		c.corrupt(c.all, "L2 entry %#x: COPIED flag is set for a compressed cluster", entry)
	}
	if c.external {
		c.corrupt(c.all, "L2 entry %#x: compressed cluster in an image with an external data file", entry)
		return
	}
	if bitmap != 0 {
		c.corrupt(c.all, "L2 entry %#x: compressed cluster has subclusters (%#x)", entry, bitmap)
		return
	}
	offset, length := compressedCluster(entry, c.clusterBits)
	c.refer("compressed cluster", offset, length, c.all)
	c.result.AllocatedClusters += c.active
	c.result.CompressedClusters += c.active
	c.result.FragmentedClusters += c.active
}

// compressedCluster returns the range in bytes that contains the compressed
// data of an L2 entry. It is counted in sectors. The data may end before its
// last sector does.
func compressedCluster(entry uint64, clusterBits uint32) (offset, length uint64) {
	offsetBits := 62 - (clusterBits - 8)
	offset = entry & (1<<offsetBits - 1)
	sectors := entry&^(entryCopied|entryCompressed)>>offsetBits + 1
	return offset, sectors*sectorSize - offset%sectorSize
}

// checkStandard checks a "Standard Cluster Descriptor". It takes and returns
// the offset after the last allocated cluster of the table, 0 if there is none
// yet.
func (c *l2Checker) checkStandard(entry, bitmap, next uint64) uint64 {
	if entry&l2EntryReserved != 0 {
		c.corrupt(c.all, "L2 entry %#x has reserved bits set", entry)
	}
	offset := entry & entryOffset
	copied := entry&entryCopied != 0
	if offset == 0 {
		if !c.extended && entry&entryZero != 0 {
			return next // reads as zeros, has no cluster
		}
		// Offset 0 is valid in an external data file. The COPIED flag says
		// whether the cluster is allocated.
		if !c.external || !copied {
			if bitmap&subclusterAlloc != 0 {
				c.corrupt(c.all, "L2 entry %#x: unallocated cluster has allocated subclusters (%#x)", entry, bitmap)
			}
			return next
		}
	}
	if bitmap>>32&bitmap != 0 {
		c.corrupt(c.all, "L2 entry %#x: subclusters are both allocated and zero (%#x)", entry, bitmap)
	}
	if offset%c.clusterSize != 0 {
		c.corrupt(c.all, "L2 entry %#x: cluster offset %d is not a multiple of the cluster size", entry, offset)
	}
	c.result.AllocatedClusters += c.active
	if next != 0 && offset != next {
		c.result.FragmentedClusters += c.active
	}
	if c.external {
		if !copied {
			c.corrupt(c.flags, "L2 entry %#x: COPIED flag is missing for a cluster of the external data file", entry)
		}
		return offset + c.clusterSize
	}
	c.refer("data cluster", offset, c.clusterSize, c.all)
	if c.flags > 0 {
		refcount, ok := c.refcounts.get(offset >> c.clusterBits)
		if ok && (refcount == 1) != copied {
			c.corrupt(c.flags, "L2 entry %#x: COPIED flag contradicts the refcount %d of the cluster", entry, refcount)
		}
	}
	return offset + c.clusterSize
}
