package qcow2

import "fmt"

// layout has the position of every structure in the file. Positions are
// clusters from the start of the file, as every structure begins at one:
//
//	0                header, extensions, backing file name
//	refcountTable    1, unless one cluster is too small for it
//	refcountBlocks
//	l1               L1 table, of its exact length
//
// and with preallocated metadata:
//
//	l2    L2 tables, one cluster each
//	data  guest data
type layout struct {
	clusterSize uint64 // in bytes

	refcountTable         uint64
	refcountTableClusters uint64
	refcountBlocks        []uint64 // position of the block with that index, 0 without one
	refcountsPerBlock     uint64
	// oldRefcountTables have the entries of tables that QEMU has replaced, by
	// their position. Readers ignore them; they make the file equal to that of qemu-img.
	oldRefcountTables map[uint64][]uint64

	l1        uint64
	l1Entries uint64

	l2       uint64
	l2Tables uint64 // 0 without preallocation
	// data is the position of the guest data, which takes dataClusters. With an
	// external data file it is a position in that file.
	data         uint64
	dataClusters uint64
	external     bool // data is in an external data file
	extendedL2   bool

	// clusters is the end of the last cluster in use. Clusters before it have a
	// reference count of one, except those in unused.
	clusters uint64
	unused   map[uint64]bool
	length   uint64 // of the file, in bytes
}

// newLayout computes the layout for parameters that have passed check and
// checkSize. It fails if the image needs a larger refcount table than QEMU
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
	if !p.preallocated() {
		l.placeLikeQEMU()
		return l, nil
	}
	if err := l.placeInOrder(); err != nil {
		return nil, err
	}
	return l, nil
}

// l1Clusters is the length of the L1 table in clusters.
func (l *layout) l1Clusters() uint64 { return ceilDiv(l.l1Entries*l1EntrySize, l.clusterSize) }

// refcountBits is the width of a reference count in bits.
func (l *layout) refcountBits() uint64 { return l.clusterSize * 8 / l.refcountsPerBlock }

// placeLikeQEMU lays out an image without preallocation as qemu-img create
// does, byte for byte.
func (l *layout) placeLikeQEMU() {
	a := newAllocator(l.clusterSize, l.refcountsPerBlock)
	l.l1 = a.next
	if n := l.l1Clusters(); n > 0 {
		l.l1 = a.allocate(n)
	}
	l.length = l.l1*l.clusterSize + l.l1Entries*l1EntrySize

	l.refcountTable = a.tableCluster
	l.refcountTableClusters = uint64(len(a.table)) / a.entriesPerTable
	l.refcountBlocks = a.table
	l.oldRefcountTables = a.oldTables
	l.clusters = uint64(len(a.used))
	l.unused = map[uint64]bool{}
	for cluster, used := range a.used {
		if !used {
			l.unused[uint64(cluster)] = true
		}
	}
	// Only the L1 table is shorter than its clusters.
	if l.clusters > l.l1+l.l1Clusters() {
		l.length = l.clusters * l.clusterSize
	}
}

// placeInOrder lays out the structures one after the other: header, refcount
// table, all refcount blocks, L1 table, L2 tables and data.
func (l *layout) placeInOrder() error {
	rest := l.l1Clusters() + l.l2Tables
	if !l.external {
		rest += l.dataClusters
	}
	l.refcountTable = 1
	var blocks uint64
	for {
		l.refcountTableClusters = max(1, ceilDiv(blocks*refcountTableEntrySize, l.clusterSize))
		l.clusters = l.refcountTable + l.refcountTableClusters + blocks + rest
		needed := ceilDiv(l.clusters, l.refcountsPerBlock)
		if needed == blocks {
			break
		}
		blocks = needed
	}
	if length := l.refcountTableClusters * l.clusterSize; length > maxRefcountTableBytes {
		return fmt.Errorf("qcow2: the image needs a refcount table of %d bytes, QEMU allows %d; use larger clusters or narrower refcounts", length, maxRefcountTableBytes)
	}

	firstBlock := l.refcountTable + l.refcountTableClusters
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
