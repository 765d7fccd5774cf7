package qcow2

import (
	"container/list"
	"sync"
)

const (
	// tableCacheBytes limits the cached tables of a Disk. It is enough for 32
	// GiB of guest data in clusters of 64 KiB.
	tableCacheBytes = 4 << 20
	// clusterCacheBytes limits the cached decompressed clusters of a Disk to
	// two of the largest size.
	clusterCacheBytes = 4 << 20
)

// A cache keeps the most recently used pieces of files, up to a number of
// bytes. Several goroutines may use it at the same time.
type cache struct {
	mu     sync.Mutex
	room   int        // bytes that may still be added
	recent *list.List // of *cacheEntry, most recently used first
	byKey  map[cacheKey]*list.Element
}

// A cacheKey names a piece of a layer's file.
type cacheKey struct {
	layer          int // its depth
	offset, length int64
}

type cacheEntry struct {
	key   cacheKey
	piece []byte // never modified
}

func newCache(bytes int) *cache {
	return &cache{room: bytes, recent: list.New(), byKey: map[cacheKey]*list.Element{}}
}

// get returns the piece with that key. load reads it if it is not cached.
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
