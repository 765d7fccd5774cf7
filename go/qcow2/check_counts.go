package qcow2

import (
	"maps"
	"math"
	"slices"
)

// clusterCounts has a count for each cluster. It uses memory only for parts of
// the file with a count that is not zero.
type clusterCounts struct {
	pages map[uint64]*countPage // by cluster / countsPerPage
	large map[uint64]uint64     // the counts of at least largeCount, by cluster

	// last is the page of the last call: most references are to neighbours.
	lastKey uint64
	last    *countPage
}

// countPage has the counts of neighbouring clusters, with two bits each: nearly
// all clusters of an image have one reference or none.
type countPage [countsPerPage / countsPerWord]uint64

const (
	countsPerPage = 256
	countsPerWord = 32
	largeCount    = 3
)

func (c *clusterCounts) add(cluster, n uint64) {
	if n == 0 {
		return
	}
	page := c.page(cluster / countsPerPage)
	if page == nil {
		page = new(countPage)
		if c.pages == nil {
			c.pages = map[uint64]*countPage{}
		}
		c.pages[cluster/countsPerPage] = page
		c.lastKey, c.last = cluster/countsPerPage, page
	}
	word := &page[cluster%countsPerPage/countsPerWord]
	shift := cluster % countsPerWord * 2
	old := *word >> shift & largeCount
	if old < largeCount && n < largeCount-old {
		*word += n << shift
		return
	}
	if c.large == nil {
		c.large = map[uint64]uint64{}
	}
	if old == largeCount {
		old = c.large[cluster]
	}
	if n > math.MaxUint64-old {
		n = math.MaxUint64 - old
	}
	c.large[cluster] = old + n
	*word |= largeCount << shift
}

func (c *clusterCounts) get(cluster uint64) uint64 {
	page := c.page(cluster / countsPerPage)
	if page == nil {
		return 0
	}
	return c.at(page, cluster)
}

// page returns the page with the given key, or nil.
func (c *clusterCounts) page(key uint64) *countPage {
	if c.last == nil || c.lastKey != key {
		page := c.pages[key]
		if page == nil {
			return nil
		}
		c.lastKey, c.last = key, page
	}
	return c.last
}

// at returns the count of a cluster that is on page.
func (c *clusterCounts) at(page *countPage, cluster uint64) uint64 {
	n := page[cluster%countsPerPage/countsPerWord] >> (cluster % countsPerWord * 2) & largeCount
	if n == largeCount {
		return c.large[cluster]
	}
	return n
}

// keys returns the keys of all pages, in ascending order.
func (c *clusterCounts) keys() []uint64 {
	return slices.Sorted(maps.Keys(c.pages))
}

// each calls visit for all clusters with a count that is not zero, in ascending
// order, until visit returns an error.
func (c *clusterCounts) each(visit func(cluster, count uint64) error) error {
	for _, key := range c.keys() {
		page := c.pages[key]
		for i, word := range page {
			if word == 0 {
				continue
			}
			first := key*countsPerPage + uint64(i)*countsPerWord
			for cluster := first; cluster < first+countsPerWord; cluster++ {
				if n := c.at(page, cluster); n > 0 {
					if err := visit(cluster, n); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}
