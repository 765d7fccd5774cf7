package qcow2

import "github.com/rules-qcow2/rules_qcow2/internal/sparse"

// A fileRun is a range of a file that is either all data or all a hole.
type fileRun struct {
	start, end int64
	hole       bool
}

// fileStatus returns the status at off of the raw file of the layer at depth,
// for at most length bytes. The range must be in the file, rounded up to whole
// sectors.
func (p *prober) fileStatus(depth int, f *file, off, length int64) status {
	r := p.holes[depth]
	if off < r.start || off >= r.end {
		r = f.runAt(off, length)
		p.holes[depth] = r
	}
	s := status{flags: statusData | statusOffset | statusAllocated, length: min(length, r.end-off), host: off, file: f}
	if r.hole {
		s.flags = statusZero | statusOffset | statusAllocated
	}
	if uint64(off+s.length) == ceilDiv(uint64(f.size), sectorSize)*sectorSize {
		s.flags |= statusEOF
	}
	return s
}

// runAt returns the run of data or hole at off. If the system cannot tell, it
// is data. length is the length of a run up to the end of the file.
func (f *file) runAt(off, length int64) fileRun {
	unknown := fileRun{off, off + length, false}
	if f.os == nil {
		return unknown
	}
	start, end, err := sparse.NextData(f.os, off, off+length)
	switch {
	case err != nil || end < start:
		return unknown
	case start > off:
		return fileRun{off, start, true}
	}
	return fileRun{off, end, false}
}
