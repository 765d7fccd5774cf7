package qcow2

import "math"

// The status of a range is what a layer or a chain of layers knows about it
// without reading the data, in the terms of QEMU's block layer. The output of
// map and compare depends on it, so this code follows QEMU in the corner cases,
// too (block/io.c, bdrv_co_block_status and bdrv_co_common_block_status_above;
// block/qcow2.c, qcow2_co_block_status; block/file-posix.c,
// raw_co_block_status).

// statusFlags are QEMU's BDRV_BLOCK_ flags.
type statusFlags uint8

const (
	statusData       statusFlags = 1 << iota // BDRV_BLOCK_DATA
	statusZero                               // BDRV_BLOCK_ZERO
	statusOffset                             // BDRV_BLOCK_OFFSET_VALID
	statusAllocated                          // BDRV_BLOCK_ALLOCATED: not from the backing file
	statusCompressed                         // BDRV_BLOCK_COMPRESSED
	statusEOF                                // BDRV_BLOCK_EOF: reaches the end of the layer
)

type status struct {
	flags  statusFlags
	length int64 // in bytes
	// With statusOffset:
	host int64
	file *file
}

func (s *status) has(any statusFlags) bool { return s.flags&any != 0 }

// A prober gets the status of the layers of a disk, and caches their last
// answers.
type prober struct {
	disk *Disk
	// asQEMU ends the answers where QEMU does, at the end of a part of a table.
	// Only strict comparison depends on that.
	asQEMU bool

	runs  []run     // the last unallocated run of each layer
	offs  []int64   // the start of each run
	holes []fileRun // the last run in each layer's data file
}

func newProber(d *Disk, asQEMU bool) *prober {
	n := len(d.layers)
	return &prober{disk: d, asQEMU: asQEMU, runs: make([]run, n), offs: make([]int64, n), holes: make([]fileRun, n)}
}

// chainStatus returns the status of the disk at off, for at most length bytes.
// off must be in the disk.
func (p *prober) chainStatus(off, length int64) (status, error) {
	top, err := p.layerStatus(0, off, length)
	if err != nil || top.has(statusAllocated) {
		return top, err
	}
	end := int64(-1)
	if top.has(statusEOF) {
		end = off + top.length
	}
	s := top
	for depth := 1; depth < len(p.disk.layers); depth++ {
		length := s.length
		if off >= p.disk.layers[depth].size {
			// The zeros after the end of a layer count as its own.
			s = status{flags: statusZero | statusAllocated, length: length}
			break
		}
		if s, err = p.layerStatus(depth, off, length); err != nil {
			return s, err
		}
		if s.has(statusAllocated) {
			s.flags &^= statusEOF
			break
		}
	}
	if off+s.length == end {
		s.flags |= statusEOF
	}
	return s, nil
}

// layerStatus returns the status at off in the layer at depth, without the
// layers below, for at most length bytes. off must be in the layer.
func (p *prober) layerStatus(depth int, off, length int64) (status, error) {
	l := p.disk.layers[depth]
	length = min(length, l.size-off)
	if l.Image == nil {
		return p.fileStatus(depth, l.file, off, length), nil
	}
	r, err := p.run(depth, off, length)
	if err != nil {
		return status{}, err
	}
	s := status{length: r.length}
	if r.hasHost {
		s.flags |= statusOffset
		s.host, s.file = r.host, l.data
	}
	switch r.kind {
	case normal:
		s.flags |= statusData | statusAllocated
		if l.metadataPreallocated() {
			p.addHoles(depth, &s)
		}
	case compressed:
		s.flags |= statusData | statusCompressed | statusAllocated
	case zero:
		s.flags |= statusZero | statusAllocated
	case unallocated:
		// The range is zero because no layer below has it.
		if depth == len(p.disk.layers)-1 || off >= p.disk.layers[depth+1].size {
			s.flags |= statusZero
		}
	}
	if off+s.length == l.size {
		s.flags |= statusEOF
	}
	return s, nil
}

// addHoles shortens s to the next change between data and hole in the data
// file, and marks a hole as zero.
func (p *prober) addHoles(depth int, s *status) {
	below := status{flags: statusEOF}
	if size := ceilDiv(uint64(s.file.size), sectorSize) * sectorSize; uint64(s.host) < size {
		below = p.fileStatus(depth, s.file, s.host, min(s.length, int64(size)-s.host))
	}
	if below.has(statusEOF) && (below.length == 0 || below.has(statusZero)) {
		s.flags |= statusZero
		return
	}
	s.length = below.length
	s.flags |= below.flags & statusZero
}

// run returns the run of the layer at off. It caches the last unallocated run,
// which may cover many extents of the layers below.
func (p *prober) run(depth int, off, length int64) (run, error) {
	l := p.disk.layers[depth]
	if p.asQEMU {
		return l.run(off, min(length, l.answerLimit(off)))
	}
	if r, start := p.runs[depth], p.offs[depth]; off >= start && off < start+r.length {
		r.length -= off - start
		r.length = min(r.length, length)
		return r, nil
	}
	r, err := l.run(off, length)
	if err == nil && r.kind == unallocated && !r.hasHost {
		p.runs[depth], p.offs[depth] = r, off
	}
	return r, err
}

// answerLimit is the number of bytes from off that one answer of QEMU's driver
// covers: up to the end of the cached part of an L2 table, and at most the
// maximum of an int (block/qcow2-cluster.c, qcow2_get_host_offset).
func (l *layer) answerLimit(off int64) int64 {
	entries := min(int64(1)<<l.clusterBits, 64<<10) >> l.entryBits
	covered := entries << l.clusterBits
	return min(covered-off%covered, math.MaxInt32)
}
