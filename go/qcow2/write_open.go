package qcow2

import (
	"fmt"
	"slices"
)

// An openCluster collects writes to parts of a cluster.
type openCluster struct {
	cluster uint64
	data    []byte
	mask    uint32 // units that were written; 0 if no cluster is open
}

func (o *openCluster) within(first, n uint64) bool {
	return o.mask != 0 && o.cluster >= first && o.cluster-first < n
}

// write writes p at byte in of a cluster. Before a part of a unit is written,
// the rest of it is read.
func (o *openCluster) write(w *Writer, cluster uint64, in int, p []byte) error {
	if !o.within(cluster, 1) {
		if err := o.flush(w); err != nil {
			return err
		}
		o.cluster = cluster
		o.data = slices.Grow(o.data[:0], int(w.params.clusterSize))[:w.params.clusterSize]
		clear(o.data)
	}
	length := w.clusterLength(cluster)
	for n := 0; n < len(p); {
		unit := (in + n) / w.unitSize
		start, end := unit*w.unitSize, (unit+1)*w.unitSize
		from, to := in+n, min(in+len(p), end)
		if o.mask>>unit&1 == 0 {
			if from > start || to < min(end, length) {
				if err := w.readBack(cluster, unit, o.data[start:end]); err != nil {
					return err
				}
			}
			o.mask |= 1 << unit
		}
		n += copy(o.data[from:to], p[n:])
	}
	return nil
}

// flush writes the cluster. None is open then.
func (o *openCluster) flush(w *Writer) error {
	if o.mask == 0 {
		return nil
	}
	if err := o.complete(w); err != nil {
		return err
	}
	j, err := w.newJob(o.cluster, w.clusterLength(o.cluster))
	if err != nil {
		return err
	}
	copy(j.data, o.data)
	j.masks[0], o.mask = o.mask, 0
	w.run(j, nil)
	return nil
}

// complete reads the units that were not written, if the cluster can only be
// replaced as a whole. In a new image there is none.
func (o *openCluster) complete(w *Writer) error {
	if w.old == nil || o.mask == w.allUnits() {
		return nil
	}
	if err := w.wait(); err != nil {
		return err
	}
	e, err := w.mapped.get(o.cluster)
	if err != nil || !e.replacedWhole() {
		return err
	}
	for unit := range int(w.units) {
		if o.mask>>unit&1 == 0 {
			if err := w.readBack(o.cluster, unit, o.data[unit*w.unitSize:][:w.unitSize]); err != nil {
				return err
			}
		}
	}
	o.mask = w.allUnits()
	return nil
}

// readBack fills b with a unit of a cluster, as it was written before.
func (w *Writer) readBack(cluster uint64, unit int, b []byte) error {
	var e l2Entry
	if cluster < w.fresh {
		if err := w.wait(); err != nil {
			return err
		}
		var err error
		if e, err = w.mapped.get(cluster); err != nil {
			return err
		}
	}
	host := int64(e.descriptor & entryOffset)
	switch {
	case e.descriptor&entryCompressed != 0:
		return w.readBackCompressed(e, unit, b)
	case w.units == 1 && e.mixed():
		// The Writer makes no such cluster, so it is as it was.
		if w.options.Backing == nil {
			return fmt.Errorf("qcow2: a part of the cluster at guest offset %d is written, which needs the contents of the image; use WriterOptions.Backing", cluster*w.params.clusterSize)
		}
	case w.isZero(e, unit):
		clear(b)
		return nil
	case w.isNormal(e, unit):
		return readZeroPadded(w.f, b, host+int64(unit*w.unitSize))
	case !w.params.hasBackingFile && w.options.Backing == nil:
		clear(b)
		return nil
	case w.options.Backing == nil:
		return fmt.Errorf("qcow2: a part of the cluster at guest offset %d is written, which needs the contents of the backing file; use WriterOptions.Backing", cluster*w.params.clusterSize)
	}
	return w.options.Backing.readPadded(b, int64(cluster*w.params.clusterSize)+int64(unit*w.unitSize))
}

// isZero reports whether a unit of an entry reads as zeros because it is marked
// so.
func (w *Writer) isZero(e l2Entry, unit int) bool {
	if w.params.extendedL2 {
		return e.bitmap>>32>>unit&1 != 0
	}
	return e.descriptor&entryZero != 0
}

// isNormal reports whether a unit of an entry that is not compressed has data in
// the file.
func (w *Writer) isNormal(e l2Entry, unit int) bool {
	if w.params.extendedL2 {
		return e.bitmap>>unit&1 != 0
	}
	return e.descriptor&entryZero == 0 && e.descriptor&entryOffset != 0
}

func (w *Writer) readBackCompressed(e l2Entry, unit int, b []byte) error {
	decompress, err := decompressorFor(w.params.compressionType)
	if err != nil {
		return err
	}
	whole := b
	if w.units > 1 {
		whole = make([]byte, w.params.clusterSize)
	}
	offset, length := compressedCluster(e.descriptor, w.clusterBits())
	src := make([]byte, length)
	if err := readZeroPadded(w.f, src, int64(offset)); err != nil {
		return err
	}
	if err := decompress(whole, src); err != nil {
		return err
	}
	copy(b, whole[unit*w.unitSize:])
	return nil
}

// mixed reports whether the subclusters of an entry are not all of one kind.
func (e l2Entry) mixed() bool {
	return e.bitmap != 0 && e.bitmap != subclusterAlloc && e.bitmap != subclusterAlloc<<32
}

// readPadded fills p with the data at off, and zeros after the end of the disk.
func (d *Disk) readPadded(p []byte, off int64) error {
	n := int(max(0, min(int64(len(p)), d.size-off)))
	err := d.readLayer(0, p[:n], off)
	clear(p[n:])
	return err
}
