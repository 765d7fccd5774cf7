package qcow2

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// An existing is the image that a Writer changes, as it was when it was opened.
type existing struct {
	image  *Image
	length uint64 // of the file in bytes
}

// OpenWriter returns a Writer that changes the existing image in f, which is size
// bytes long. WriterOptions.Backing is the contents of the image now.
//
// Data clusters that the image has are overwritten in place. Everything else, and
// all tables, go to free clusters of the file, and Close puts them into effect with
// one write of the header. If the program ends before, the image maps the same
// clusters as before; qemu-img check may find leaked clusters.
//
// OpenWriter checks the image like Check and refuses one that is corrupt. It also
// refuses images with snapshots, bitmaps, encryption, an external data file, or
// header extensions that it does not know. Nothing else may use the image at the same
// time; OpenWriter does not lock it.
func OpenWriter(f WriterFile, size int64, options WriterOptions) (*Writer, error) {
	return openWriter(f, size, options, func(*params) error { return nil })
}

// openWriter is OpenWriter. change may change the size, but not to a smaller one,
// and the backing file.
func openWriter(f WriterFile, size int64, options WriterOptions, change func(*params) error) (*Writer, error) {
	image, err := Inspect(f, size)
	if err != nil {
		return nil, err
	}
	if err := image.checkChangeable(); err != nil {
		return nil, err
	}
	result, err := Check(f, size)
	if err != nil {
		return nil, err
	}
	if result.Corruptions > 0 || result.CheckErrors > 0 {
		return nil, fmt.Errorf("qcow2: the image is corrupt: %s; repair it with qemu-img check -r all", result.Problems[0])
	}
	p := image.params()
	if err := change(p); err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	if err := p.checkSize(); err != nil {
		return nil, err
	}
	w := &Writer{f: f, params: p, options: options, old: &existing{image, uint64(size)}}
	if err := w.check(); err != nil {
		return nil, err
	}
	if err := w.start(); err != nil {
		return nil, err
	}
	w.fresh = ceilDiv(p.size, p.clusterSize)
	return w, nil
}

// checkChangeable refuses an image with something that a Writer does not keep up to
// date.
func (i *Image) checkChangeable() error {
	has := ""
	switch {
	case i.Header.CryptMethod != cryptNone:
		has = "is encrypted"
	case i.HasDataFile():
		has = "has an external data file"
	case len(i.Snapshots) > 0:
		has = "has internal snapshots"
	case i.HasBitmaps():
		has = "has bitmaps"
	case i.Dirty():
		return errors.New("qcow2: the image was not closed properly; repair it with qemu-img check -r all")
	case i.Corrupt():
		return errors.New("qcow2: the image is marked as corrupt; repair it with qemu-img check -r all")
	case i.Header.CompatibleFeatures&^compatLazyRefcounts != 0:
		has = "has unknown compatible features"
	}
	for _, e := range i.Extensions {
		switch e.Type {
		case extensionBackingFormat, extensionFeatureNames, extensionBitmaps:
		default:
			if has == "" {
				has = fmt.Sprintf("has the unknown header extension %#x", e.Type)
			}
		}
	}
	if has != "" {
		return fmt.Errorf("qcow2: the image %s, and such images cannot be changed; use qemu-img", has)
	}
	return nil
}

// params returns the parameters of an image that checkChangeable accepts.
func (i *Image) params() *params {
	return &params{
		size:               i.VirtualSize(),
		sizeGiven:          true,
		backingFile:        i.BackingFile,
		hasBackingFile:     i.BackingFile != "",
		backingFormat:      i.BackingFormat,
		backingFormatGiven: i.BackingFormat != "",
		version:            int(i.Header.Version),
		clusterSize:        i.ClusterSize(),
		extendedL2:         i.ExtendedL2(),
		lazyRefcounts:      i.LazyRefcounts(),
		refcountBits:       i.RefcountBits(),
		compressionType:    i.CompressionType(),
		preallocation:      PreallocationOff,
	}
}

// readExisting reads the refcount table and the L1 table.
func (w *Writer) readExisting() error {
	h := &w.old.image.Header
	size := w.params.clusterSize
	counts := &refcounts{
		tables:        newTableCache(w.f, size),
		clusterSize:   size,
		perBlock:      size * 8 / uint64(w.params.refcountBits),
		order:         w.params.refcountOrder(),
		table:         h.RefcountTableOffset / size,
		tableClusters: uint64(h.RefcountTableClusters),
		keep:          true,
	}
	w.counts = counts
	table, err := w.readTable(h.RefcountTableOffset, counts.tableClusters*size)
	if err != nil {
		return err
	}
	for i, entry := range table {
		if entry &= refcountTableEntryOffset; entry != 0 {
			counts.blocks = append(counts.blocks, make([]uint64, i+1-len(counts.blocks))...)
			counts.blocks[i] = entry / size
		}
	}
	if err := counts.findEnd(); err != nil {
		return err
	}

	w.l1 = h.L1TableOffset / size
	w.mapped = newMapping(w.tables, counts, w.params)
	l1, err := w.readTable(h.L1TableOffset, uint64(h.L1Size)*l1EntrySize)
	if err != nil {
		return err
	}
	if more := len(l1) - len(w.mapped.l1); more > 0 {
		w.mapped.l1 = append(w.mapped.l1, make([]uint64, more)...)
	}
	w.mapped.inherited = make([]bool, len(w.mapped.l1))
	for i, entry := range l1 {
		w.mapped.l1[i] = entry & entryOffset / size
		w.mapped.inherited[i] = true
	}
	w.mapped.changed = len(w.mapped.l1) > len(l1)
	return nil
}

func (w *Writer) readTable(offset, length uint64) ([]uint64, error) {
	b := make([]byte, length)
	if err := readZeroPadded(w.f, b, int64(offset)); err != nil {
		return nil, err
	}
	entries := make([]uint64, length/8)
	for i := range entries {
		entries[i] = binary.BigEndian.Uint64(b[8*i:])
	}
	return entries, nil
}

// findEnd sets the end of the clusters in use. The last refcount block counts all
// clusters from there on, or no block does.
func (r *refcounts) findEnd() error {
	if len(r.blocks) == 0 {
		return errors.New("qcow2: the refcount table is empty")
	}
	first := uint64(len(r.blocks)-1) * r.perBlock
	for r.end = first + r.perBlock; r.end > first; r.end-- {
		if count, err := r.get(r.end - 1); err != nil || count > 0 {
			return err
		}
	}
	return nil
}

// placeL1 moves the L1 table of an existing image to the end of the file, if it
// changes.
func (w *Writer) placeL1() error {
	if w.old == nil || !w.mapped.changed {
		return nil
	}
	h := &w.old.image.Header
	if h.L1Size > 0 {
		if err := w.counts.free(h.L1TableOffset, w.old.image.L1Bytes()); err != nil {
			return err
		}
	}
	return w.reserveL1()
}

// replaceHeader puts a changed image into effect. Only then the clusters that it
// does not need any more are free.
func (w *Writer) replaceHeader(header []byte) error {
	if err := w.sync(); err != nil {
		return err
	}
	// Nothing of a longer header may stay.
	h := &w.old.image.Header
	if end := h.BackingFileOffset + uint64(h.BackingFileSize); h.BackingFileOffset != 0 && uint64(len(header)) < end {
		header = append(header, make([]byte, end-uint64(len(header)))...)
	}
	if _, err := w.f.WriteAt(header, 0); err != nil {
		return err
	}
	if err := w.sync(); err != nil {
		return err
	}
	if err := w.counts.settle(); err != nil {
		return err
	}
	return w.counts.tables.flush()
}

// sync waits until the file is on the disk, if it is an *os.File.
func (w *Writer) sync() error {
	if f, ok := w.f.(interface{ Sync() error }); ok {
		return f.Sync()
	}
	return nil
}
