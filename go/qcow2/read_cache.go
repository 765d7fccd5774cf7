package qcow2

import (
	"container/list"
	"sync"
)

const (
	// tableCacheBytes bounds what a Disk keeps of tables: enough for 32 GiB of
	// guest data in clusters of 64 KiB.
	tableCacheBytes = 4 << 20
	// clusterCacheBytes bounds what a Disk keeps of decompressed clusters: two
	// of the largest.
	clusterCacheBytes = 4 << 20
)

// A cache keeps the pieces of files that were used last, up to a number of
// bytes. It is safe for use by several goroutines at once.
type cache struct {
	mu     sync.Mutex
	room   int        // bytes that may still be added
	recent *list.List // of *cacheEntry, that used last in front
	byKey  map[cacheKey]*list.Element
}

// A cacheKey names a piece of a layer's file.
type cacheKey struct {
	layer          int // its depth
	offset, length int64
}

type cacheEntry struct {
	key   cacheKey
	piece []byte // not written to any more
}

func newCache(bytes int) *cache {
	return &cache{room: bytes, recent: list.New(), byKey: map[cacheKey]*list.Element{}}
}

// get returns the piece with that key, which load reads if it is not there.
// Goroutines that miss the same piece at the same time each load it.
func (c *cache) get(key cacheKey, load func() ([]byte, error)) ([]byte, error) {
	if piece, ok := c.lookup(key); ok {
		return piece, nil
	}
	piece, err := load()
	if err == nil {
		c.add(key, piece)
	}
	return piece, err
}

func (c *cache) lookup(key cacheKey) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element, ok := c.byKey[key]
	if !ok {
		return nil, false
	}
	c.recent.MoveToFront(element)
	return element.Value.(*cacheEntry).piece, true
}

func (c *cache) add(key cacheKey, piece []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[key]; ok {
		return
	}
	c.byKey[key] = c.recent.PushFront(&cacheEntry{key, piece})
	for c.room -= len(piece); c.room < 0; {
		last := c.recent.Back()
		entry := c.recent.Remove(last).(*cacheEntry)
		delete(c.byKey, entry.key)
		c.room += len(entry.piece)
	}
}
