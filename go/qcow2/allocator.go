package qcow2

// allocator makes the decisions of QEMU's cluster allocator for a new image, so
// that our image has the same bytes as one from qemu-img create
// (block/qcow2-refcount.c). All positions are clusters.
//
// An allocation first chooses clusters and then counts a reference to each. If
// a reference count has no refcount block yet, QEMU allocates the block, and the
// refcount table too if it is full. The clusters chosen before may then be
// taken, so QEMU begins the allocation again.
type allocator struct {
	countsPerBlock  uint64 // reference counts in a refcount block
	entriesPerTable uint64 // entries in a cluster of the refcount table

	used []bool // whether a cluster has a reference count of 1
	next uint64 // QEMU's free_cluster_index: the search begins here

	table        []uint64 // the refcount block of each index, 0 without one
	tableCluster uint64
	// oldTables are the tables that were replaced. Their clusters are free, but
	// the file still has their contents.
	oldTables map[uint64][]uint64
}

// newAllocator returns the state after QEMU has written header, refcount table
// and first refcount block, one cluster each.
func newAllocator(clusterSize, countsPerBlock uint64) *allocator {
	a := &allocator{
		countsPerBlock:  countsPerBlock,
		entriesPerTable: clusterSize / refcountTableEntrySize,
		tableCluster:    1,
		oldTables:       map[uint64][]uint64{},
	}
	a.table = make([]uint64, a.entriesPerTable)
	a.table[0] = 2
	a.allocate(3)
	return a
}

// allocate allocates n clusters in a row and returns the first
// (qcow2_alloc_clusters).
func (a *allocator) allocate(n uint64) uint64 {
	for {
		if first := a.find(n); a.count(first, n) {
			return first
		}
	}
}

// find returns the first of n free clusters in a row (alloc_clusters_noref).
func (a *allocator) find(n uint64) uint64 {
	for found := uint64(0); found < n; a.next++ {
		if found++; a.isUsed(a.next) {
			found = 0
		}
	}
	return a.next - n
}

// count counts a reference to each of n clusters from first on. It reports
// false, and counts none, if a refcount block was allocated (update_refcount).
func (a *allocator) count(first, n uint64) bool {
	for cluster := first; cluster < first+n; cluster++ {
		if !a.hasBlock(cluster) {
			a.free(first, cluster-first)
			return false
		}
		a.use(cluster)
	}
	return true
}

// hasBlock reports whether the reference count of cluster has a refcount block.
// If not, it allocates that block or, first, a block which that block needs
// (alloc_refcount_block).
func (a *allocator) hasBlock(cluster uint64) bool {
	index := cluster / a.countsPerBlock
	if index < uint64(len(a.table)) && a.table[index] != 0 {
		return true
	}
	block := a.find(1)
	if block/a.countsPerBlock == index {
		a.use(block) // the block has its own reference count
	} else if !a.count(block, 1) {
		return false
	}
	if index < uint64(len(a.table)) {
		a.table[index] = block
	} else {
		a.growTable(cluster, block)
	}
	return false
}

// growTable replaces the refcount table by a larger one with the new refcount
// block for cluster. The table stands behind all that is in use, after the
// refcount blocks for itself and for them (qcow2_refcount_area).
func (a *allocator) growTable(cluster, block uint64) {
	area := ceilDiv(max(cluster+1, block), a.countsPerBlock) // index of its first block
	start := area * a.countsPerBlock
	blocks := a.blocksFor(start)
	tableClusters := ceilDiv(blocks+ceilDiv(blocks, 2), a.entriesPerTable)

	table := make([]uint64, tableClusters*a.entriesPerTable)
	copy(table, a.table)
	table[cluster/a.countsPerBlock] = block
	end := start
	for i := area; i < blocks; i++ {
		if table[i] == 0 {
			table[i] = end
			end++
		}
	}
	oldCluster, oldTable := a.tableCluster, a.table
	a.tableCluster, a.table = end, table
	for end += tableClusters; start < end; start++ {
		a.use(start)
	}
	a.oldTables[oldCluster] = oldTable
	a.free(oldCluster, uint64(len(oldTable))/a.entriesPerTable)
}

// blocksFor returns the number of refcount blocks for n clusters, for the
// blocks, for their table, and for half of another table
// (qcow2_refcount_metadata_size).
func (a *allocator) blocksFor(n uint64) uint64 {
	var blocks, table uint64
	for generous := true; ; {
		last := blocks + table
		blocks = ceilDiv(n+blocks+table, a.countsPerBlock)
		table = ceilDiv(blocks, a.entriesPerTable)
		switch {
		case blocks+table != last:
		case generous:
			n += ceilDiv(table, 2)
			generous = false
		default:
			return blocks
		}
	}
}

func (a *allocator) isUsed(cluster uint64) bool {
	return cluster < uint64(len(a.used)) && a.used[cluster]
}

func (a *allocator) use(cluster uint64) {
	if missing := int(cluster) + 1 - len(a.used); missing > 0 {
		a.used = append(a.used, make([]bool, missing)...)
	}
	a.used[cluster] = true
	delete(a.oldTables, cluster)
}

// free frees n clusters. The next search begins at the first, if that is
// before where it would begin.
func (a *allocator) free(first, n uint64) {
	if n > 0 {
		a.next = min(a.next, first)
		clear(a.used[first : first+n])
	}
}
