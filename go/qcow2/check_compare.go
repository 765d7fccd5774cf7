package qcow2

import "bytes"

// readRefcountTable reads the refcount table up to the last entry that is not
// zero.
func (c *checker) readRefcountTable() error {
	h := &c.image.Header
	start := h.RefcountTableOffset
	return c.readEntries(start, start+uint64(h.RefcountTableClusters)<<c.clusterBits, func(index int, entry uint64) error {
		for len(c.refcounts.table) < index {
			c.refcounts.table = append(c.refcounts.table, 0)
		}
		c.refcounts.table = append(c.refcounts.table, entry)
		return nil
	})
}

// checkRefcountBlocks counts the references of the refcount table. It runs
// last, because nothing else may refer to a refcount block.
func (c *checker) checkRefcountBlocks() {
	for index, entry := range c.refcounts.table {
		offset := entry & refcountTableEntryOffset
		switch {
		case entry&refcountTableEntryReserved != 0:
			c.corrupt(1, "refcount table entry %d: %#x has reserved bits set", index, entry)
		case offset%c.clusterSize != 0:
			c.corrupt(1, "refcount table entry %d: refcount block offset %d is not a multiple of the cluster size", index, offset)
		case offset>>c.clusterBits >= c.clusters:
			c.corrupt(1, "refcount table entry %d: refcount block at offset %d is beyond the end of the file", index, offset)
		case offset != 0:
			c.refer("refcount block", offset, c.clusterSize, 1)
			if n := min(c.references.get(offset>>c.clusterBits), c.refcounts.maxRefcount()); n != 1 {
				c.corrupt(1, "refcount table entry %d: refcount block has %d references", index, n)
			}
		}
	}
}

// compareRefcounts compares the references with the reference counts of the
// image, and finds the end of the last cluster in use.
func (c *checker) compareRefcounts() error {
	c.checkOverflow()
	cmp := comparison{checker: c, end: 1, keys: c.references.keys()}
	perBlock := c.refcounts.perBlock()
	var block []byte
	for index := range c.refcounts.table {
		first := uint64(index) * perBlock
		if first >= c.clusters {
			break
		}
		end := min(first+perBlock, c.clusters)
		switch offset, ok := c.refcounts.block(uint64(index)); {
		case !ok:
			c.checkError(end-first, "refcount block at offset %d cannot be read, no refcount is known for the clusters from %d to %d", offset, first, end-1)
		case offset == 0 || offset >= c.size:
			cmp.withZeros(first, end)
		default:
			if block == nil {
				block = make([]byte, min(c.clusterSize, c.size))
			}
			if err := readZeroPadded(c.r, block, int64(offset)); err != nil {
				return err
			}
			cmp.withBlock(first, end, block)
		}
	}
	cmp.withZeros(uint64(len(c.refcounts.table))*perBlock, c.clusters)
	c.result.ImageEndOffset = cmp.end << c.clusterBits
	return c.refcounts.err
}

// checkOverflow counts the references that are too many for a reference count.
func (c *checker) checkOverflow() {
	limit := c.refcounts.maxRefcount()
	if limit >= largeCount && len(c.references.large) == 0 {
		return
	}
	c.references.each(func(cluster, n uint64) error {
		if n > limit {
			c.corrupt(n-limit, "cluster %d has %d references, a refcount holds at most %d", cluster, n, limit)
		}
		return nil
	})
}

// comparison goes through the clusters of the file in ascending order.
type comparison struct {
	*checker
	end uint64 // cluster after the last one in use
	// keys are the keys of the pages that are left.
	keys []uint64
}

// withZeros compares clusters for which the image has no reference count.
func (c *comparison) withZeros(first, end uint64) {
	for len(c.keys) > 0 && c.keys[0] < first/countsPerPage {
		c.keys = c.keys[1:]
	}
	for _, key := range c.keys {
		start := max(first, key*countsPerPage)
		if start >= end {
			return
		}
		page := c.references.pages[key]
		for cluster := start; cluster < min(end, (key+1)*countsPerPage); cluster++ {
			c.compare(cluster, 0, c.references.at(page, cluster))
		}
	}
}

// withBlock compares clusters with their refcount block.
func (c *comparison) withBlock(first, end uint64, block []byte) {
	order := c.refcounts.order
	for start := first; start < end; {
		stop := min(end, (start/countsPerPage+1)*countsPerPage)
		page := c.references.page(start / countsPerPage)
		if page == nil {
			// Skip clusters that are not in use.
			if b := block[(start-first)<<order/8 : ((stop-first)<<order+7)/8]; bytes.Equal(b, zeros[:len(b)]) {
				start = stop
				continue
			}
			page = new(countPage)
		}
		for cluster := start; cluster < stop; cluster++ {
			c.compare(cluster, refcountAt(block, cluster-first, order), c.references.at(page, cluster))
		}
		start = stop
	}
}

func (c *comparison) compare(cluster, refcount, references uint64) {
	references = min(references, c.refcounts.maxRefcount())
	if refcount|references != 0 {
		c.end = cluster + 1
	}
	switch {
	case refcount < references:
		c.corrupt(1, "cluster %d refcount=%d reference=%d", cluster, refcount, references)
	case refcount > references:
		c.leak("cluster %d refcount=%d reference=%d", cluster, refcount, references)
	}
}
