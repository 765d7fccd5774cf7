package qcow2

import (
	"fmt"
	"math"
)

// useSnapshot changes the layer to the state that was saved with the given ID
// or name.
func (l *layer) useSnapshot(idOrName string) error {
	if l.Image == nil {
		return l.errorf("snapshot %q is asked for, but the image is raw and has none", idOrName)
	}
	var byID, byName *Snapshot
	_, err := l.Image.readSnapshots(l.file.r, func(s *Snapshot) error {
		if s.ID == idOrName && byID == nil {
			byID = s
		}
		if s.Name == idOrName && byName == nil {
			byName = s
		}
		return nil
	})
	if err != nil {
		return l.errorf("%w", err)
	}
	s := byID
	if s == nil {
		s = byName
	}
	if s == nil {
		return l.errorf("snapshot %q is not among the %d snapshots of the image", idOrName, l.Image.Header.NbSnapshots)
	}
	what := fmt.Sprintf("L1 table of snapshot %q", idOrName)
	length := uint64(s.L1Size) * l1EntrySize
	if err := l.Image.checkTable(what, s.L1TableOffset, length, maxL1Bytes); err != nil {
		return l.errorf("%w", err)
	}
	if err := l.Image.checkComplete(l.FileSize, what, s.L1TableOffset, length); err != nil {
		return l.errorf("%w", err)
	}
	if s.DiskSize > math.MaxInt64 {
		return l.errorf("virtual size of snapshot %q is %d bytes, allowed are %d", idOrName, s.DiskSize, int64(math.MaxInt64))
	}
	// Clusters after the end of the snapshot's L1 table are unallocated.
	l.l1Offset, l.l1Entries = int64(s.L1TableOffset), int64(s.L1Size)
	l.size = int64(s.DiskSize / sectorSize * sectorSize)
	return nil
}
