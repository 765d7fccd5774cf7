package qcow2

import (
	"cmp"
	"fmt"
	"slices"
)

// layout says where in the file everything stands. All offsets are counted in
// clusters from the start of the file, as every structure starts at one:
//
//	0                      header, extensions, backing file name
//	1                      refcount table
//	1+refcountTableLength  first refcount block
//	l1                     L1 table, at its real length
//	…                      more refcount blocks, where one does not do
//
// and with preallocated metadata, where all refcount blocks come before the
// L1 table:
//
//	l2    L2 tables, one cluster each
//	data  guest data
//
// Every cluster up to clusters is in use and has a reference count of one.
type layout struct {
	clusterSize uint64 // in bytes

	refcountTableLength uint64   // in clusters
	refcountBlocks      []uint64 // the cluster of the block with that index
	refcountsPerBlock   uint64

	l1        uint64
	l1Entries uint64

	l2       uint64
	l2Tables uint64 // 0 without preallocation
	// data is the cluster of the first guest data, dataClusters their number;
	// with an external data file they are clusters of that.
	data         uint64
	dataClusters uint64
	// external says that data is in an external data file.
	external   bool
	extendedL2 bool

	clusters uint64 // in use
	length   uint64 // of the file, in bytes
}

const (
	headerCluster        = 0
	refcountTableCluster = 1
)

// newLayout computes the layout for parameters that have passed check and
// checkSize. It fails where the reference counts need a larger table than QEMU
// opens.
func newLayout(p *params) (*layout, error) {
	l := &layout{
		clusterSize:       p.clusterSize,
		refcountsPerBlock: p.clusterSize * 8 / uint64(p.refcountBits),
		l1Entries:         ceilDiv(p.size, p.l2Coverage()),
		external:          p.hasDataFile,
		extendedL2:        p.extendedL2,
	}
	if p.preallocated() {
		l.l2Tables = l.l1Entries
		l.dataClusters = ceilDiv(p.size, p.clusterSize)
	}
	if !p.preallocated() && l.placeLikeQEMU() {
		return l, nil
	}
	if err := l.placeInOrder(); err != nil {
		return nil, err
	}
	return l, nil
}

// l1Clusters is the length of the L1 table in clusters.
func (l *layout) l1Clusters() uint64 { return ceilDiv(l.l1Entries*l1EntrySize, l.clusterSize) }

// refcountBits is the width of a reference count.
func (l *layout) refcountBits() uint64 { return l.clusterSize * 8 / l.refcountsPerBlock }

// refcountBlocksInFileOrder returns the indices of all refcount blocks by
// where they stand in the file.
func (l *layout) refcountBlocksInFileOrder() []uint64 {
	indices := make([]uint64, len(l.refcountBlocks))
	for i := range indices {
		indices[i] = uint64(i)
	}
	slices.SortFunc(indices, func(a, b uint64) int {
		return cmp.Compare(l.refcountBlocks[a], l.refcountBlocks[b])
	})
	return indices
}

// placeLikeQEMU lays out an image without data as QEMU's allocator does, so
// that the file is the same byte for byte. It reports false where a refcount
// table of one cluster does not do: QEMU then moves the table.
//
// QEMU starts with a header, a table and one refcount block, and allocates the
// L1 table behind them. When it comes to a cluster whose reference count has
// no block yet, it makes that block in the next free cluster behind the L1
// table, and goes on with the block for the reference count of that cluster
// (block/qcow2-refcount.c, alloc_refcount_block).
func (l *layout) placeLikeQEMU() bool {
	const firstBlock, l1 = 2, 3
	next := l1 + l.l1Clusters()
	blocks := map[uint64]uint64{0: firstBlock}
	lastIndex := (next - 1) / l.refcountsPerBlock
	for i := uint64(1); i <= lastIndex; i++ {
		for index := i; blocks[index] == 0; {
			blocks[index] = next
			index = next / l.refcountsPerBlock
			next++
		}
	}
	if uint64(len(blocks)) > l.clusterSize/refcountTableEntrySize {
		return false
	}

	l.refcountTableLength = 1
	l.refcountBlocks = make([]uint64, len(blocks))
	for index, cluster := range blocks {
		l.refcountBlocks[index] = cluster
	}
	l.l1 = l1
	l.clusters = next
	l.length = l1*l.clusterSize + l.l1Entries*l1EntrySize
	if len(blocks) > 1 {
		l.length = l.clusters * l.clusterSize
	}
	return true
}

// placeInOrder lays out the structures one after the other, with as many
// refcount blocks as the whole file needs, and a table with room for them.
func (l *layout) placeInOrder() error {
	rest := l.l1Clusters() + l.l2Tables
	if !l.external {
		rest += l.dataClusters
	}
	var blocks uint64
	for {
		l.refcountTableLength = max(1, ceilDiv(blocks*refcountTableEntrySize, l.clusterSize))
		l.clusters = refcountTableCluster + l.refcountTableLength + blocks + rest
		needed := ceilDiv(l.clusters, l.refcountsPerBlock)
		if needed == blocks {
			break
		}
		blocks = needed
	}
	if length := l.refcountTableLength * l.clusterSize; length > maxRefcountTableBytes {
		return fmt.Errorf("qcow2: the image needs a refcount table of %d bytes, QEMU allows %d (use larger clusters or narrower refcounts)", length, maxRefcountTableBytes)
	}

	firstBlock := refcountTableCluster + l.refcountTableLength
	l.refcountBlocks = make([]uint64, blocks)
	for i := range l.refcountBlocks {
		l.refcountBlocks[i] = firstBlock + uint64(i)
	}
	l.l1 = firstBlock + blocks
	l.l2 = l.l1 + l.l1Clusters()
	l.data = l.l2 + l.l2Tables
	if l.external {
		l.data = 0
	}
	l.length = l.clusters * l.clusterSize
	return nil
}

func ceilDiv(a, b uint64) uint64 {
	if a == 0 {
		return 0
	}
	return (a-1)/b + 1
}
