package qcow2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// An Image describes a qcow2 image: its header and the tables of its snapshots
// and bitmaps.
type Image struct {
	// Header has the fields of version 3 for version 2, too, with their defaults.
	Header Header

	BackingFile string // as stored; "" if there is none
	// BackingFormat is the recorded format of the backing file, or "" if there
	// is none.
	BackingFormat string
	DataFile      string // name of the external data file; "" if there is none or none is recorded

	// FeatureNames is the image's own feature name table; nil if it has none.
	FeatureNames []FeatureName
	// Extensions are all header extensions in the order of the file, without
	// the end marker.
	Extensions []Extension
	// Snapshots are the internal snapshots in the order of the file.
	Snapshots []Snapshot
	// Bitmaps are the dirty bitmaps in the order of the file.
	Bitmaps []Bitmap
	// Encryption is nil if the image is not encrypted.
	Encryption *Encryption

	bitmaps      bitmapsExtension
	cryptoHeader cryptoHeaderExtension
}

// ErrFormat is the error for a file that is not a qcow2 image.
var ErrFormat = errors.New("not a qcow2 image (the first bytes are not \"QFI\\xfb\" and version 2 or 3)")

// Compat returns the format's version by qemu-img's name: "0.10" for
// version 2, "1.1" for version 3.
func (i *Image) Compat() string {
	if i.Header.Version == 2 {
		return "0.10"
	}
	return "1.1"
}

// ClusterSize returns the cluster size in bytes.
func (i *Image) ClusterSize() uint64 { return 1 << i.Header.ClusterBits }

// VirtualSize returns the virtual size in bytes. Like QEMU, it rounds down to
// whole sectors.
func (i *Image) VirtualSize() uint64 { return i.Header.Size / sectorSize * sectorSize }

// RefcountBits returns the width of a reference count in bits.
func (i *Image) RefcountBits() int { return 1 << i.Header.RefcountOrder }

// CompressionType returns the compression method of compressed clusters.
func (i *Image) CompressionType() CompressionType {
	return compressionTypes[i.Header.CompressionType]
}

// LazyRefcounts reports whether a writer may delay updates of reference counts.
func (i *Image) LazyRefcounts() bool { return i.Header.CompatibleFeatures&compatLazyRefcounts != 0 }

// ExtendedL2 reports whether L2 entries have subclusters.
func (i *Image) ExtendedL2() bool { return i.Header.IncompatibleFeatures&incompatExtendedL2 != 0 }

// Dirty reports whether the reference counts may be wrong after a crash.
func (i *Image) Dirty() bool { return i.Header.IncompatibleFeatures&incompatDirty != 0 }

// Corrupt reports whether a writer has found the image to be corrupt.
func (i *Image) Corrupt() bool { return i.Header.IncompatibleFeatures&incompatCorrupt != 0 }

// HasDataFile reports whether guest data is in an external data file.
func (i *Image) HasDataFile() bool { return i.Header.IncompatibleFeatures&incompatDataFile != 0 }

// DataFileRaw reports whether the external data file is a raw image.
func (i *Image) DataFileRaw() bool {
	return i.HasDataFile() && i.Header.AutoclearFeatures&autoclearDataFileRaw != 0
}

// HasBitmaps reports whether the image has bitmaps that agree with its
// contents.
func (i *Image) HasBitmaps() bool { return i.Header.AutoclearFeatures&autoclearBitmaps != 0 }

// L1Bytes returns the size of the active L1 table in bytes.
func (i *Image) L1Bytes() uint64 { return uint64(i.Header.L1Size) * l1EntrySize }

// Inspect reads the header cluster of the qcow2 image in r, its encryption
// header, and the tables of its snapshots and bitmaps. r is size bytes long. As
// in QEMU, it reads as zeros after that. Inspect refuses images that QEMU's
// opener refuses, and a version 3 header that does not fit into the file. The error is ErrFormat if the file is not a qcow2 image.
// Inspect opens no other file.
func Inspect(r io.ReaderAt, size int64) (*Image, error) {
	image, err := inspectForCheck(r, size)
	if err != nil {
		return nil, err
	}
	if image.Header.RefcountTableClusters == 0 {
		return nil, errors.New("refcount_table_clusters is 0, at least 1 is needed")
	}
	_, err = image.readSnapshots(r, func(s *Snapshot) error {
		image.Snapshots = append(image.Snapshots, *s)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := image.readBitmaps(r, size); err != nil {
		return nil, err
	}
	if err := image.readEncryption(r); err != nil {
		return nil, err
	}
	return image, nil
}

// inspectForCheck is Inspect for an image that may be damaged. It refuses only
// an image that cannot be checked.
func inspectForCheck(r io.ReaderAt, size int64) (*Image, error) {
	image := &Image{}
	if err := image.readHeader(r, size); err != nil {
		return nil, err
	}
	if err := image.readNames(r); err != nil {
		return nil, err
	}
	if err := image.checkHeader(); err != nil {
		return nil, err
	}
	return image, nil
}

func (i *Image) readHeader(r io.ReaderAt, size int64) error {
	h := &i.Header
	raw := make([]byte, headerLengthV3)
	if err := readZeroPadded(r, raw, 0); err != nil {
		return err
	}
	if _, err := binary.Decode(raw, binary.BigEndian, h); err != nil {
		return err
	}
	if h.Magic != magic || h.Version != 2 && h.Version != 3 {
		return ErrFormat
	}
	if h.Version == 3 && size < minHeaderLengthV3 {
		return fmt.Errorf("file is %d bytes long, a version 3 header takes %d", size, minHeaderLengthV3)
	}
	if h.Version == 2 {
		h.IncompatibleFeatures, h.CompatibleFeatures, h.AutoclearFeatures = 0, 0, 0
		h.RefcountOrder, h.HeaderLength = refcountOrderV2, headerLengthV2
	}
	if h.Version == 2 || h.HeaderLength <= minHeaderLengthV3 {
		h.CompressionType, h.Padding = 0, [7]byte{}
	}
	if h.ClusterBits < minClusterBits || h.ClusterBits > maxClusterBits {
		return fmt.Errorf("cluster_bits is %d, QEMU allows %d to %d", h.ClusterBits, minClusterBits, maxClusterBits)
	}
	if h.Version == 3 && (h.HeaderLength < minHeaderLengthV3 || uint64(h.HeaderLength) > i.ClusterSize()) {
		return fmt.Errorf("header_length is %d, must be from %d to the cluster size of %d", h.HeaderLength, minHeaderLengthV3, i.ClusterSize())
	}
	return nil
}

// readNames reads the header extensions and the backing file name.
func (i *Image) readNames(r io.ReaderAt) error {
	h := &i.Header
	cluster := make([]byte, i.ClusterSize())
	if err := readZeroPadded(r, cluster, 0); err != nil {
		return err
	}
	extensionsEnd := uint64(len(cluster))
	if h.BackingFileOffset != 0 {
		if h.BackingFileSize > maxBackingFileSize {
			return fmt.Errorf("backing_file_size is %d bytes, QEMU allows %d", h.BackingFileSize, maxBackingFileSize)
		}
		end := h.BackingFileOffset + uint64(h.BackingFileSize)
		if h.BackingFileOffset > uint64(len(cluster)) || end > uint64(len(cluster)) {
			return fmt.Errorf("backing_file_offset is %d with %d bytes, which is not within the first cluster of %d bytes", h.BackingFileOffset, h.BackingFileSize, len(cluster))
		}
		name := string(cluster[h.BackingFileOffset:end])
		i.BackingFile, _, _ = strings.Cut(name, "\x00")
		extensionsEnd = h.BackingFileOffset
	}
	if uint64(h.HeaderLength) >= extensionsEnd {
		return nil
	}
	return i.readExtensions(cluster[h.HeaderLength:extensionsEnd])
}

// checkHeader refuses values that QEMU does not open.
func (i *Image) checkHeader() error {
	h := &i.Header
	if unknown := h.IncompatibleFeatures &^ incompatKnown; unknown != 0 {
		return fmt.Errorf("incompatible features are not supported: %s", i.featureNamesOf(unknown))
	}
	if h.RefcountOrder > maxRefcountOrder {
		return fmt.Errorf("refcount_order is %d, must be from 0 to %d", h.RefcountOrder, maxRefcountOrder)
	}
	if int(h.CompressionType) >= len(compressionTypes) {
		return fmt.Errorf("compression_type is %d, must be 0 (zlib) or 1 (zstd)", h.CompressionType)
	}
	if bit := h.IncompatibleFeatures&incompatCompression != 0; bit != (h.CompressionType != 0) {
		return fmt.Errorf("compression_type is %d, which contradicts the compression type bit", h.CompressionType)
	}
	if i.ExtendedL2() && h.ClusterBits < minClusterBitsExtendedL2 {
		return fmt.Errorf("cluster_bits is %d, extended L2 entries need at least %d", h.ClusterBits, minClusterBitsExtendedL2)
	}
	if h.CryptMethod > cryptLUKS {
		return fmt.Errorf("crypt_method is %d, must be 0 (none), 1 (AES) or 2 (LUKS)", h.CryptMethod)
	}
	if h.CryptMethod == cryptLUKS && !i.hasExtension(extensionFullEncryption) {
		return errors.New("crypt_method is 2 (LUKS), but there is no encryption header extension")
	}
	if err := i.checkTable("L1 table", h.L1TableOffset, i.L1Bytes(), maxL1Bytes); err != nil {
		return err
	}
	if err := i.checkTable("refcount table", h.RefcountTableOffset, uint64(h.RefcountTableClusters)<<h.ClusterBits, maxRefcountTableBytes); err != nil {
		return err
	}
	if needed := ceilDiv(h.Size, i.l2Coverage()); needed > uint64(h.L1Size) {
		return fmt.Errorf("l1_size is %d, a virtual size of %d bytes needs %d", h.L1Size, h.Size, needed)
	}
	return nil
}

func (i *Image) l2Coverage() uint64 {
	entry := uint64(l2EntrySize)
	if i.ExtendedL2() {
		entry = extendedL2EntrySize
	}
	return i.ClusterSize() / entry * i.ClusterSize()
}

func (i *Image) checkTable(what string, offset, length, limit uint64) error {
	if length > limit {
		return fmt.Errorf("%s takes %d bytes, QEMU allows %d", what, length, limit)
	}
	if offset%i.ClusterSize() != 0 {
		return fmt.Errorf("%s is at offset %d, which is not a multiple of the cluster size %d", what, offset, i.ClusterSize())
	}
	if length > 0 && offset > maxFileLength-length || offset > 1<<63-1 {
		return fmt.Errorf("%s is at offset %d, which is beyond any file", what, offset)
	}
	return nil
}

// featureNamesOf returns the names of the incompatible features in mask, from
// the image's feature name table, or their bit numbers.
func (i *Image) featureNamesOf(mask uint64) string {
	var names []string
	for bit := range 64 {
		if mask&(1<<bit) == 0 {
			continue
		}
		name := fmt.Sprintf("bit %d", bit)
		for _, f := range i.FeatureNames {
			if f.Kind == featureKinds[featureIncompatible] && f.Bit == bit {
				name = fmt.Sprintf("%s (bit %d)", f.Name, bit)
			}
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}
