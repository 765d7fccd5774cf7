package qcow2

import (
	"encoding/binary"
	"fmt"
)

// refcounts allocates the clusters of a Writer's file and counts the
// references to them. All positions are clusters, unless they are said to be
// offsets.
//
// The refcount table stays in memory until the end. A refcount block is at the
// first cluster that it counts, unless an area was reserved there.
type refcounts struct {
	tables      *tableCache
	clusterSize uint64
	perBlock    uint64 // reference counts in a refcount block
	order       uint32 // log2 of the width of a count in bits

	blocks        []uint64 // the refcount table: position of each block, 0 without one
	table         uint64   // position of the refcount table
	tableClusters uint64
	next          uint64 // no cluster before it is free
	end           uint64 // no cluster from it on was ever used
	// bytesAt is the offset at which the next compressed cluster may begin, or
	// 0. It is inside a cluster that contains compressed data only.
	bytesAt uint64

	// keep delays free until settle: the clusters are in use by the image that is
	// there until the new header is in place.
	keep  bool
	freed []region
}

// A region is a part of the file, in bytes.
type region struct{ offset, length uint64 }

// newRefcounts returns the state in which the header and the refcount table
// take one cluster each.
func newRefcounts(tables *tableCache, p *params) (*refcounts, error) {
	r := &refcounts{
		tables:      tables,
		clusterSize: p.clusterSize,
		perBlock:    p.clusterSize * 8 / uint64(p.refcountBits),
		order:       p.refcountOrder(),
		blocks:      []uint64{2},
		table:       1, tableClusters: 1,
		end: 3,
	}
	if err := tables.create(2); err != nil {
		return nil, err
	}
	for cluster := range r.end {
		if err := r.set(cluster, 1); err != nil {
			return nil, err
		}
	}
	r.next = r.end
	return r, nil
}

// max is the largest reference count.
func (r *refcounts) max() uint64 { return 1<<(1<<r.order) - 1 } // 1<<64 is 0

func (r *refcounts) get(cluster uint64) (uint64, error) {
	if !r.hasBlock(cluster) {
		return 0, nil
	}
	block, err := r.tables.read(r.blocks[cluster/r.perBlock])
	if err != nil {
		return 0, err
	}
	return refcountAt(block, cluster%r.perBlock, r.order), nil
}

func (r *refcounts) set(cluster, count uint64) error {
	block, err := r.tables.change(r.blocks[cluster/r.perBlock])
	if err != nil {
		return err
	}
	setRefcount(block, cluster%r.perBlock, r.order, count)
	return nil
}

// hasBlock reports whether there is a refcount block for a cluster.
func (r *refcounts) hasBlock(cluster uint64) bool {
	index := cluster / r.perBlock
	return index < uint64(len(r.blocks)) && r.blocks[index] != 0
}

// addBlock adds the next refcount block, at a cluster.
func (r *refcounts) addBlock(cluster uint64) error {
	if uint64(len(r.blocks)) == maxRefcountTableBytes/refcountTableEntrySize {
		return fmt.Errorf("qcow2: the image needs a refcount table of more than %d bytes, which QEMU does not open; use larger clusters or narrower refcounts", maxRefcountTableBytes)
	}
	r.blocks = append(r.blocks, cluster)
	return r.tables.create(cluster)
}

// allocate returns a free cluster, with a reference count of 1 now.
func (r *refcounts) allocate() (uint64, error) {
	for {
		cluster := r.next
		isBlock := !r.hasBlock(cluster)
		if index := cluster / r.perBlock; isBlock && index < uint64(len(r.blocks)) {
			r.blocks[index] = cluster // an existing image left it out
			if err := r.tables.create(cluster); err != nil {
				return 0, err
			}
		} else if isBlock {
			if err := r.addBlock(cluster); err != nil {
				return 0, err
			}
		}
		count, err := r.get(cluster)
		if err != nil {
			return 0, err
		}
		r.next++
		r.end = max(r.end, r.next)
		if count > 0 {
			continue
		}
		if err := r.set(cluster, 1); err != nil {
			return 0, err
		}
		if !isBlock {
			return cluster, nil
		}
	}
}

// allocateBytes returns the offset of length bytes for a compressed cluster,
// and counts its reference to each cluster there. Length is less than a
// cluster. Like QEMU, it fills clusters without gaps where it can
// (block/qcow2-refcount.c, qcow2_alloc_bytes).
func (r *refcounts) allocateBytes(length uint64) (uint64, error) {
	offset := r.bytesAt
	if offset != 0 {
		count, err := r.get(offset / r.clusterSize)
		if err != nil {
			return 0, err
		}
		if count == r.max() {
			offset = 0
		}
	}
	inUse := offset % r.clusterSize // bytes of the cluster at offset
	if offset == 0 || inUse+length > r.clusterSize {
		cluster, err := r.allocate()
		if err != nil {
			return 0, err
		}
		if offset != 0 && cluster == offset/r.clusterSize+1 {
			err = r.add(cluster-1, 1) // the data begins in one and ends in the other
		} else {
			offset = cluster * r.clusterSize
		}
		if err != nil {
			return 0, err
		}
	} else if err := r.add(offset/r.clusterSize, 1); err != nil {
		return 0, err
	}
	r.bytesAt = offset + length
	if r.bytesAt%r.clusterSize == 0 {
		r.bytesAt = 0
	}
	return offset, nil
}

// add adds delta to a reference count. A cluster without references is free.
func (r *refcounts) add(cluster uint64, delta int) error {
	count, err := r.get(cluster)
	if err != nil {
		return err
	}
	count += uint64(delta)
	if count == 0 {
		r.next = min(r.next, cluster)
		if r.bytesAt/r.clusterSize == cluster {
			r.bytesAt = 0
		}
	}
	return r.set(cluster, count)
}

// settle frees the clusters that were kept.
func (r *refcounts) settle() error {
	r.keep = false
	for _, region := range r.freed {
		if err := r.free(region.offset, region.length); err != nil {
			return err
		}
	}
	r.freed = nil
	return nil
}

// free removes one reference from each cluster of length bytes at offset.
func (r *refcounts) free(offset, length uint64) error {
	if r.keep {
		r.freed = append(r.freed, region{offset, length})
		return nil
	}
	for cluster := offset / r.clusterSize; cluster <= (offset+length-1)/r.clusterSize; cluster++ {
		if err := r.add(cluster, -1); err != nil {
			return err
		}
	}
	return nil
}

// reserve allocates clusters in a row at the end of the file, and before them
// the refcount blocks that they need. The number of clusters may depend on the
// number of blocks.
func (r *refcounts) reserve(clusters func(blocks uint64) uint64) (first, n uint64, err error) {
	blocks := uint64(len(r.blocks))
	for {
		n = clusters(blocks)
		first = r.end + blocks - uint64(len(r.blocks))
		needed := max(blocks, ceilDiv(first+n, r.perBlock))
		if needed == blocks {
			break
		}
		blocks = needed
	}
	start := r.end
	for cluster := start; cluster < first; cluster++ {
		if err := r.addBlock(cluster); err != nil {
			return 0, 0, err
		}
	}
	r.end = first + n
	for cluster := start; cluster < r.end; cluster++ {
		if err := r.set(cluster, 1); err != nil {
			return 0, 0, err
		}
	}
	return first, n, nil
}

// finish returns the place of the refcount table and the table's bytes. The
// table moves to the end of the file if it needs more clusters than it has.
func (r *refcounts) finish() (first, n uint64, content []byte, err error) {
	first, n = r.table, r.tableClusters
	perCluster := r.clusterSize / refcountTableEntrySize
	if uint64(len(r.blocks)) > n*perCluster {
		if err := r.free(first*r.clusterSize, n*r.clusterSize); err != nil {
			return 0, 0, nil, err
		}
		first, n, err = r.reserve(func(blocks uint64) uint64 { return ceilDiv(blocks, perCluster) })
		if err != nil {
			return 0, 0, nil, err
		}
	}
	content = make([]byte, 0, n*r.clusterSize)
	for _, cluster := range r.blocks {
		content = binary.BigEndian.AppendUint64(content, cluster*r.clusterSize)
	}
	return first, n, content[:cap(content)], nil
}

// setRefcount sets count i of a refcount block ("Refcount block entry").
func setRefcount(block []byte, i uint64, order uint32, count uint64) {
	switch width := uint64(1) << order; {
	case width == 64:
		binary.BigEndian.PutUint64(block[i*8:], count)
	case width == 32:
		binary.BigEndian.PutUint32(block[i*4:], uint32(count))
	case width == 16:
		binary.BigEndian.PutUint16(block[i*2:], uint16(count))
	default:
		// Several counts share a byte, the first in its lowest bits.
		shift := i * width % 8
		b := &block[i*width/8]
		*b = *b&^(byte(1<<width-1)<<shift) | byte(count)<<shift
	}
}
