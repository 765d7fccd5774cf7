package qcow2

import (
	"errors"
	"fmt"
	"math/bits"
)

// An l2Entry is an L2 table entry. The bitmap is 0 without extended L2 entries.
type l2Entry struct {
	descriptor uint64
	bitmap     uint64 // "Extended L2 Entries": bit x allocated, bit 32+x zero
}

// clusterRun returns the run that begins with subcluster sub of the cluster in
// e. It ends with the cluster, or before a subcluster of another kind. off is a
// guest offset in the cluster.
func (l *layer) clusterRun(e l2Entry, sub uint, off int64) (run, error) {
	r := run{length: int64(l.subclusters-sub) << l.subclusterBits}
	if e.descriptor&entryCompressed != 0 {
		if l.external {
			return r, errors.New("cluster is compressed, which is not allowed with an external data file")
		}
		r.kind, r.descriptor = compressed, e.descriptor
		return r, nil
	}
	host := int64(e.descriptor & entryOffset)
	// Offset 0 is valid in an external data file: "If offset is 0 and bit 63 is
	// set, the cluster is allocated".
	allocated := host != 0 || l.external && e.descriptor&entryCopied != 0
	if allocated {
		if err := l.checkHostOffset(host, off); err != nil {
			return r, err
		}
		r.hasHost, r.host = true, host+int64(sub)<<l.subclusterBits
	}
	if l.subclusters > 1 {
		var n uint
		var err error
		if r.kind, n, err = e.subclusterKind(sub, allocated); err != nil {
			return r, err
		}
		r.length = int64(n) << l.subclusterBits
	} else {
		switch {
		case e.descriptor&entryZero != 0:
			if l.Image.Header.Version < 3 {
				return r, errors.New("cluster has the zero flag, which version 2 does not have")
			}
			r.kind, r.hasHost = zero, host != 0
		case allocated:
			r.kind = normal
		}
	}
	if r.kind == normal && !l.external && host >= l.FileSize {
		return r, fmt.Errorf("cluster is at offset %d, the file is %d bytes long", host, l.FileSize)
	}
	return r, nil
}

// checkHostOffset refuses offsets that a cluster cannot have. off is a guest
// offset in the cluster.
func (l *layer) checkHostOffset(host, off int64) error {
	clusterSize := int64(1) << l.clusterBits
	if host%clusterSize != 0 {
		return fmt.Errorf("cluster is at offset %d, which is not a multiple of the cluster size %d", host, clusterSize)
	}
	if guest := off &^ (clusterSize - 1); l.external && host != guest {
		return fmt.Errorf("cluster is at offset %d of the external data file, where only its guest offset %d is allowed", host, guest)
	}
	return nil
}

// subclusterKind returns the kind of subcluster sub, and the number of
// subclusters from sub that have this kind. allocated says whether the cluster
// has an offset in the data file.
func (e l2Entry) subclusterKind(sub uint, allocated bool) (clusterKind, uint, error) {
	alloc, zeros := uint32(e.bitmap&subclusterAlloc), uint32(e.bitmap>>32)
	if both := alloc & zeros; both != 0 && allocated {
		return 0, 0, fmt.Errorf("subcluster %d is both allocated and zero", bits.TrailingZeros32(both))
	}
	if alloc != 0 && !allocated {
		return 0, 0, fmt.Errorf("subcluster %d is allocated, but the cluster is not", bits.TrailingZeros32(alloc))
	}
	kind, same := unallocated, ^(alloc | zeros)
	switch {
	case zeros>>sub&1 != 0:
		kind, same = zero, zeros
	case alloc>>sub&1 != 0:
		kind, same = normal, alloc
	}
	n := min(uint(bits.TrailingZeros32(^(same >> sub))), subclustersPerCluster-sub)
	return kind, n, nil
}
