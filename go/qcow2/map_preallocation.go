package qcow2

import (
	"encoding/binary"
	"sync"
)

// A preallocationCheck caches whether a layer looks as if its metadata was
// preallocated.
type preallocationCheck struct {
	once sync.Once
	is   bool
}

// metadataPreallocated reports whether more clusters are in use than the file
// system has allocated. Then clusters in the tables are holes in the data file,
// and only the file system knows which are zero (block/qcow2-refcount.c,
// qcow2_detect_metadata_preallocation).
func (l *layer) metadataPreallocated() bool {
	l.preallocation.once.Do(func() {
		blocks, ok := l.file.allocated()
		if !ok {
			return
		}
		clusters := blocks >> l.clusterBits
		threshold := max(clusters*10/9, clusters+2)
		used, err := l.clustersInUse(threshold)
		l.preallocation.is = err == nil && used >= threshold
	})
	return l.preallocation.is
}

// clustersInUse counts the clusters of the file that have a reference count. It
// stops at enough.
func (l *layer) clustersInUse(enough int64) (int64, error) {
	h := &l.Image.Header
	clusterSize := int64(1) << l.clusterBits
	var used int64
	clusters := int64(ceilDiv(uint64(l.FileSize), uint64(clusterSize)))
	perBlock := clusterSize * 8 >> h.RefcountOrder
	blocks := min(ceilDiv(uint64(clusters), uint64(perBlock)), uint64(h.RefcountTableClusters)*uint64(clusterSize)/refcountTableEntrySize)
	for block := range int64(blocks) {
		var entry [refcountTableEntrySize]byte
		if err := l.file.readAt(entry[:], int64(h.RefcountTableOffset)+block*refcountTableEntrySize); err != nil {
			return 0, err
		}
		offset := int64(binary.BigEndian.Uint64(entry[:]) & refcountTableEntryOffset)
		if offset == 0 {
			continue
		}
		if offset%clusterSize != 0 {
			return 0, l.errorf("refcount table at offset %d, entry %d: offset of the refcount block is %d, which is not a multiple of the cluster size %d", h.RefcountTableOffset, block, offset, clusterSize)
		}
		inBlock, err := l.countsInUse(offset, min(perBlock, clusters-block*perBlock), enough-used)
		if err != nil {
			return 0, err
		}
		if used += inBlock; used >= enough {
			break
		}
	}
	return used, nil
}

// countsInUse counts the reference counts that are not zero among the first
// counts of the refcount block at offset. It stops at enough.
func (l *layer) countsInUse(offset, counts, enough int64) (int64, error) {
	var used int64
	order := l.Image.Header.RefcountOrder
	for first := int64(0); first < counts && used < enough; {
		part, _, err := l.slice(offset, 1<<l.clusterBits, first<<order>>3)
		if err != nil {
			return 0, err
		}
		n := min(int64(len(part))<<3>>order, counts-first)
		for i := range uint64(n) {
			if refcountAt(part, i, order) != 0 {
				used++
			}
		}
		first += n
	}
	return used, nil
}
