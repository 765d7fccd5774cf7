package qcow2

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// Generate writes a qcow2 image without guest data to w. At least one of
// GenerateWithFileSize and GenerateWithBackingFile is required. Other options
// default to the values of qemu-img create. The image has the same bytes as one
// that qemu-img create makes with the same options, unless metadata is
// preallocated: then it has the same contents, but clusters may be in another
// order.
//
// Generate refuses options that contradict each other or that exceed what the
// format or QEMU allows. It fails if it needs the backing file and cannot read
// it. In all these cases it writes nothing. If w fails, Generate returns the
// error of w, and the bytes written until then are not an image.
//
// Generate writes from the current position of w, front to back. If w is an
// *os.File positioned at its end, long runs of zeros become holes where the
// file system supports them.
func Generate(w io.Writer, opts ...*GenerateOption) error {
	p := defaultParams()
	if err := p.apply(opts); err != nil {
		return err
	}
	return p.generate(w)
}

func (p *params) generate(w io.Writer) error {
	if err := p.check(); err != nil {
		return err
	}
	if err := p.completeFromBackingFile(nameOf(w)); err != nil {
		return err
	}
	var err error
	if p.size, err = roundUpSize(p.size); err != nil {
		return err
	}
	if err := p.checkSize(); err != nil {
		return err
	}
	l, err := newLayout(p)
	if err != nil {
		return err
	}
	header, err := encodeHeader(p, l)
	if err != nil {
		return err
	}
	return writeImage(newSparseWriter(w), header, l)
}

// encodeHeader returns the first cluster without its padding: header, header
// extensions and backing file name.
func encodeHeader(p *params, l *layout) ([]byte, error) {
	h := Header{
		Magic:                 magic,
		Version:               uint32(p.version),
		ClusterBits:           p.clusterBits(),
		Size:                  p.size,
		L1Size:                uint32(l.l1Entries),
		L1TableOffset:         l.l1 * l.clusterSize,
		RefcountTableOffset:   l.refcountTable * l.clusterSize,
		RefcountTableClusters: uint32(l.refcountTableClusters),
		RefcountOrder:         p.refcountOrder(),
		HeaderLength:          headerLengthV3,
	}
	if l.l1Entries == 0 {
		h.L1TableOffset = 0
	}
	if p.lazyRefcounts {
		h.CompatibleFeatures |= compatLazyRefcounts
	}
	if p.hasDataFile {
		h.IncompatibleFeatures |= incompatDataFile
	}
	if p.dataFileRaw {
		h.AutoclearFeatures |= autoclearDataFileRaw
	}
	if p.extendedL2 {
		h.IncompatibleFeatures |= incompatExtendedL2
	}
	if p.compressionType != CompressionZlib {
		h.IncompatibleFeatures |= incompatCompression
		h.CompressionType = compressionTypeCode(p.compressionType)
	}

	extensions := encodeExtensions(p)
	if p.hasBackingFile {
		h.BackingFileOffset = uint64(h.length() + len(extensions))
		h.BackingFileSize = uint32(len(p.backingFile))
	}
	var b bytes.Buffer
	binary.Write(&b, binary.BigEndian, &h) // a bytes.Buffer does not fail
	b.Truncate(h.length())
	b.Write(extensions)
	b.WriteString(p.backingFile)
	if uint64(b.Len()) > p.clusterSize {
		return nil, fmt.Errorf("qcow2: header and file names take %d bytes, but must fit into the first cluster of %d bytes; use larger clusters or shorter names", b.Len(), p.clusterSize)
	}
	return b.Bytes(), nil
}

// length is the length in bytes of the header as Generate writes it.
func (h *Header) length() int {
	if h.Version == 2 {
		return headerLengthV2
	}
	return headerLengthV3
}

func compressionTypeCode(c CompressionType) uint8 {
	for code, name := range compressionTypes {
		if name == c {
			return uint8(code)
		}
	}
	panic("qcow2: unchecked compression type " + c)
}

// encodeExtensions returns the header extensions in qemu-img's order, with the
// end marker.
func encodeExtensions(p *params) []byte {
	var b bytes.Buffer
	extension := func(kind uint32, data []byte) {
		binary.Write(&b, binary.BigEndian, [2]uint32{kind, uint32(len(data))})
		b.Write(data)
		b.Write(make([]byte, -len(data)&7)) // padded to a multiple of 8 bytes
	}
	if p.backingFormat != "" {
		extension(extensionBackingFormat, []byte(p.backingFormat))
	}
	if p.hasDataFile {
		extension(extensionDataFile, []byte(p.dataFile))
	}
	if p.version >= 3 && p.clusterSize >= smallestClusterWithFeatureNames {
		var table bytes.Buffer
		for _, f := range featureNames {
			entry := featureName{Type: f.kind, Bit: f.bit}
			copy(entry.Name[:], f.name)
			binary.Write(&table, binary.BigEndian, &entry)
		}
		extension(extensionFeatureNames, table.Bytes())
	}
	extension(extensionEnd, nil)
	return b.Bytes()
}

// A structure is a part of the file that begins at a cluster.
type structure struct {
	cluster uint64
	write   func()
}

// writeImage writes the structures of l in the order of their positions.
func writeImage(w *sparseWriter, header []byte, l *layout) error {
	structures := []structure{
		{0, func() { w.write(header) }},
		{l.refcountTable, func() { writeRefcountTable(w, l, l.refcountBlocks) }},
		{l.l1, func() { writeL1Table(w, l) }},
	}
	for cluster, table := range l.oldRefcountTables {
		structures = append(structures, structure{cluster, func() { writeRefcountTable(w, l, table) }})
	}
	buffer := make([]byte, l.clusterSize)
	for index, cluster := range l.refcountBlocks {
		if cluster != 0 {
			structures = append(structures, structure{cluster, func() { writeRefcountBlock(w, l, uint64(index), buffer) }})
		}
	}
	if l.l2Tables > 0 {
		structures = append(structures, structure{l.l2, func() { writeL2Tables(w, l) }})
	}
	// The L1 table of an image of size 0 takes no cluster.
	slices.SortStableFunc(structures, func(a, b structure) int { return cmp.Compare(a.cluster, b.cluster) })
	for _, s := range structures {
		w.skipTo(s.cluster * l.clusterSize)
		s.write()
	}
	return w.finish(l.length)
}

func writeRefcountTable(w *sparseWriter, l *layout, blocks []uint64) {
	for len(blocks) > 0 && blocks[len(blocks)-1] == 0 {
		blocks = blocks[:len(blocks)-1] // they become a hole
	}
	for _, cluster := range blocks {
		w.writeUint64(cluster * l.clusterSize)
	}
}

// writeRefcountBlock writes the refcount block with the given index: a count of
// one for each cluster in use.
func writeRefcountBlock(w *sparseWriter, l *layout, index uint64, buffer []byte) {
	clear(buffer)
	width := l.refcountBits()
	first := index * l.refcountsPerBlock
	for cluster := first; cluster < min(l.clusters, first+l.refcountsPerBlock); cluster++ {
		if l.unused[cluster] {
			continue
		}
		if bit := (cluster - first) * width; width >= 8 {
			buffer[(bit+width)/8-1] = 1
		} else {
			// Several counts share a byte, the first in its lowest bits.
			buffer[bit/8] |= 1 << (bit % 8)
		}
	}
	w.write(bytes.TrimRight(buffer, "\x00"))
}

// writeL1Table writes the L1 table, which names the L2 tables if there are any.
func writeL1Table(w *sparseWriter, l *layout) {
	for i := uint64(0); i < l.l2Tables; i++ {
		w.writeUint64((l.l2+i)*l.clusterSize | entryCopied)
	}
}

// writeL2Tables maps all guest clusters, in order, to the data clusters. With
// extended L2 entries the bitmaps stay zero: each cluster has its place, but
// every subcluster is still read from the backing file.
func writeL2Tables(w *sparseWriter, l *layout) {
	for i := uint64(0); i < l.dataClusters; i++ {
		w.writeUint64((l.data+i)*l.clusterSize | entryCopied)
		if l.extendedL2 {
			w.writeUint64(0)
		}
	}
}
