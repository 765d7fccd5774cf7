package qcow2

import (
	"bytes"
	"errors"
)

// CopyFrom writes the contents of src. It does not read ranges that src shows as
// zero, and does not write them: the image must not contain data yet. All reads
// are over when it returns.
//
// With WriterOptions.Backing, it writes only the clusters and subclusters that
// differ from the backing file, and reads both. Without, an image with a backing
// file shows the backing file where src is zero.
//
// The end of a disk that is larger than the image is left out. A new image is zero
// after the end of a smaller disk; an existing image does not change there.
func (w *Writer) CopyFrom(src *Disk) error { return w.copyFrom(src, nil) }

func (w *Writer) copyFrom(src *Disk, want filter) error {
	if w.closed {
		return errClosed
	}
	c := &copier{w: w, src: src, want: want, limit: w.Size()}
	if w.old != nil {
		if w.options.Backing == nil {
			return errors.New("qcow2: contents of the existing image are needed to copy to it; use WriterOptions.Backing")
		}
		c.limit = min(c.limit, src.size)
	}
	c.sources = append(c.sources, newProber(src, false))
	if w.options.Backing != nil {
		c.sources = append(c.sources, newProber(w.options.Backing, false))
	}
	err := c.copy()
	if waitErr := w.wait(); err == nil {
		err = waitErr
	}
	if err == nil {
		err = src.checkLength()
	}
	w.turns.fail(err)
	return err
}

// A filter returns the length of the range at off, of at most length bytes, that is
// wanted or not wanted as a whole, and whether it is.
type filter func(off, length int64) (int64, bool, error)

// A copier finds the clusters to read.
type copier struct {
	w       *Writer
	src     *Disk
	sources []*prober // src, and the contents of the backing file
	want    filter    // or nil
	limit   int64     // end of the range to copy

	start, end uint64 // clusters that were found and are not read yet
}

func (c *copier) copy() error {
	size := c.w.params.clusterSize
	for off := int64(0); off < c.limit; {
		length, skip, err := c.status(off, c.limit-off)
		if err != nil {
			return err
		}
		if !skip {
			first, last := uint64(off)/size, ceilDiv(uint64(off+length), size)
			if first > c.end {
				if err := c.read(1); err != nil {
					return err
				}
				c.start = first
			}
			c.end = last
			if err := c.read(uint64(c.w.batch)); err != nil {
				return err
			}
		}
		off += length
	}
	return c.read(1)
}

// status returns the length of the range at off in which no disk changes between
// data and zeros, and whether it need not be read: all of them are zero there, or
// it is not wanted.
func (c *copier) status(off, length int64) (int64, bool, error) {
	if c.want != nil {
		n, want, err := c.want(off, length)
		if err != nil || !want {
			return n, true, err
		}
		length = n
	}
	allZero := !c.w.options.KeepZeros
	for _, p := range c.sources {
		if off >= p.disk.size {
			continue
		}
		e, err := p.extent(off, min(length, p.disk.size-off))
		if err != nil {
			return 0, false, err
		}
		length = e.Length
		allZero = allZero && e.Zero
	}
	return length, allZero, nil
}

// read starts jobs for the clusters that were found, as long as there are at
// least enough of them.
func (c *copier) read(enough uint64) error {
	size := c.w.params.clusterSize
	for c.end-c.start >= enough && c.start < c.end {
		n := min(c.end-c.start, uint64(c.w.batch))
		j, err := c.w.newJob(c.start, int(min(n*size, c.w.params.size-c.start*size)))
		if err != nil {
			return err
		}
		c.w.run(j, c.fill)
		c.start += n
	}
	return nil
}

// fill reads the data of a job.
func (c *copier) fill(j *job) error {
	off := int64(j.cluster * c.w.params.clusterSize)
	if err := c.src.readPadded(j.data, off); err != nil {
		return err
	}
	if c.w.options.Backing == nil {
		return nil
	}
	j.other = append(j.other[:0], j.data...)
	if err := c.w.options.Backing.readPadded(j.other, off); err != nil {
		return err
	}
	if c.w.old != nil && c.limit < off+int64(len(j.data)) {
		copy(j.data[c.limit-off:], j.other[c.limit-off:])
	}
	for i := range j.masks {
		j.masks[i] = 0
		for unit := range int(c.w.units) {
			at := i*int(c.w.params.clusterSize) + unit*c.w.unitSize
			if !bytes.Equal(j.data[at:at+c.w.unitSize], j.other[at:at+c.w.unitSize]) {
				j.masks[i] |= 1 << unit
			}
		}
	}
	return nil
}
