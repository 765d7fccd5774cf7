package qcow2

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Generate writes a qcow2 image without guest data to w. At least one of
// GenerateWithFileSize and GenerateWithBackingFile must be given; what is not
// given is as qemu-img create has it, and the image is the one that qemu-img
// create makes with the same options.
//
// Nothing is written if the options are refused: if they contradict each
// other, exceed what the format or QEMU allows, or if the backing file is
// needed and cannot be read. If w fails, its error is returned; what was
// written up to then is no image.
//
// The image is written from w's current position on, front to back. If w is an
// *os.File positioned at its end, long runs of zeros become holes where the
// file system has them.
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

// encodeHeader returns the contents of the first cluster up to the last byte
// that is not padding: header, header extensions, backing file name.
func encodeHeader(p *params, l *layout) ([]byte, error) {
	h := Header{
		Magic:                 magic,
		Version:               uint32(p.version),
		ClusterBits:           p.clusterBits(),
		Size:                  p.size,
		L1Size:                uint32(l.l1Entries),
		L1TableOffset:         l.l1 * l.clusterSize,
		RefcountTableOffset:   refcountTableCluster * l.clusterSize,
		RefcountTableClusters: uint32(l.refcountTableLength),
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
	binary.Write(&b, binary.BigEndian, &h) // a bytes.Buffer takes everything
	b.Truncate(h.length())
	b.Write(extensions)
	b.WriteString(p.backingFile)
	if uint64(b.Len()) > p.clusterSize {
		return nil, fmt.Errorf("qcow2: header and file names take %d bytes, but have to fit into the first cluster of %d bytes (use larger clusters or shorter names)", b.Len(), p.clusterSize)
	}
	return b.Bytes(), nil
}

// length is the length in bytes of the header as we write it.
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
	if p.hasBackingFile {
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

// writeImage writes the structures of l in the order of their offsets.
func writeImage(w *sparseWriter, header []byte, l *layout) error {
	w.write(header)

	w.skipTo(refcountTableCluster * l.clusterSize)
	for _, cluster := range l.refcountBlocks {
		w.writeUint64(cluster * l.clusterSize)
	}

	blocks := l.refcountBlocksInFileOrder()
	for len(blocks) > 0 && l.refcountBlocks[blocks[0]] < l.l1 {
		writeRefcountBlock(w, l, blocks[0])
		blocks = blocks[1:]
	}

	w.skipTo(l.l1 * l.clusterSize)
	for i := uint64(0); i < l.l2Tables; i++ {
		w.writeUint64((l.l2+i)*l.clusterSize | entryCopied)
	}

	for _, index := range blocks {
		writeRefcountBlock(w, l, index)
	}

	if l.l2Tables > 0 {
		writeL2Tables(w, l)
	}
	return w.finish(l.length)
}

// writeRefcountBlock writes the refcount block with the given index: a count
// of one for each cluster in use, and zeros for those behind the end.
func writeRefcountBlock(w *sparseWriter, l *layout, index uint64) {
	w.skipTo(l.refcountBlocks[index] * l.clusterSize)
	counts := min(l.refcountsPerBlock, l.clusters-index*l.refcountsPerBlock)
	if bits := l.refcountBits(); bits >= 8 {
		count := make([]byte, bits/8)
		count[len(count)-1] = 1
		for range counts {
			w.write(count)
		}
	} else {
		// Several counts share a byte, the first in its lowest bits.
		perByte := 8 / bits
		var ones byte
		for i := uint64(0); i < perByte; i++ {
			ones |= 1 << (i * bits)
		}
		for range counts / perByte {
			w.write([]byte{ones})
		}
		if rest := counts % perByte; rest > 0 {
			w.write([]byte{ones & (1<<(rest*bits) - 1)})
		}
	}
}

// writeL2Tables maps all guest clusters, in order, to the data clusters. With
// extended L2 entries the bitmaps stay zero: the clusters have their place,
// but every subcluster is still read from the backing file.
func writeL2Tables(w *sparseWriter, l *layout) {
	w.skipTo(l.l2 * l.clusterSize)
	for i := uint64(0); i < l.dataClusters; i++ {
		w.writeUint64((l.data+i)*l.clusterSize | entryCopied)
		if l.extendedL2 {
			w.writeUint64(0)
		}
	}
}
