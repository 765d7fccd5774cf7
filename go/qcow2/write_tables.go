package qcow2

import (
	"container/list"
	"io"
)

// A WriterFile is the file of a Writer. An *os.File is one.
type WriterFile interface {
	io.ReaderAt
	io.WriterAt
}

// tableCacheSize is the number of bytes for the L2 tables and refcount blocks
// that a Writer keeps in memory.
const tableCacheSize = 4 << 20

// A tableCache keeps the most recently used tables of one cluster each, and
// writes the changed ones when they leave the cache.
type tableCache struct {
	f           WriterFile
	clusterSize uint64
	room        int        // tables that may still be added
	recent      *list.List // of *cachedTable, most recently used first
	byCluster   map[uint64]*list.Element
}

type cachedTable struct {
	cluster uint64 // position in the file
	data    []byte
	changed bool
}

func newTableCache(f WriterFile, clusterSize uint64) *tableCache {
	return &tableCache{
		f:           f,
		clusterSize: clusterSize,
		room:        max(4, tableCacheSize/int(clusterSize)),
		recent:      list.New(),
		byCluster:   map[uint64]*list.Element{},
	}
}

// read returns the table at cluster. It is valid until the next call.
func (c *tableCache) read(cluster uint64) ([]byte, error) {
	t, err := c.get(cluster)
	if err != nil {
		return nil, err
	}
	return t.data, nil
}

// change is read for a caller that changes the table.
func (c *tableCache) change(cluster uint64) ([]byte, error) {
	t, err := c.get(cluster)
	if err != nil {
		return nil, err
	}
	t.changed = true
	return t.data, nil
}

func (c *tableCache) get(cluster uint64) (*cachedTable, error) {
	if element, ok := c.byCluster[cluster]; ok {
		c.recent.MoveToFront(element)
		return element.Value.(*cachedTable), nil
	}
	data := make([]byte, c.clusterSize)
	if err := readZeroPadded(c.f, data, int64(cluster*c.clusterSize)); err != nil {
		return nil, err
	}
	t := &cachedTable{cluster: cluster, data: data}
	return t, c.add(t)
}

// create adds a table of zeros.
func (c *tableCache) create(cluster uint64) error {
	return c.createFrom(cluster, make([]byte, c.clusterSize))
}

// createFrom adds a new table. It keeps data.
func (c *tableCache) createFrom(cluster uint64, data []byte) error {
	return c.add(&cachedTable{cluster: cluster, data: data, changed: true})
}

func (c *tableCache) add(t *cachedTable) error {
	c.byCluster[t.cluster] = c.recent.PushFront(t)
	if c.room--; c.room >= 0 {
		return nil
	}
	c.room = 0
	last := c.recent.Remove(c.recent.Back()).(*cachedTable)
	delete(c.byCluster, last.cluster)
	return c.write(last)
}

func (c *tableCache) write(t *cachedTable) error {
	if !t.changed {
		return nil
	}
	t.changed = false
	_, err := c.f.WriteAt(t.data, int64(t.cluster*c.clusterSize))
	return err
}

// flush writes all changed tables.
func (c *tableCache) flush() error {
	for element := c.recent.Front(); element != nil; element = element.Next() {
		if err := c.write(element.Value.(*cachedTable)); err != nil {
			return err
		}
	}
	return nil
}
