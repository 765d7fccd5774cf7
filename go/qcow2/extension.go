package qcow2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// An Extension is a header extension.
type Extension struct {
	Type uint32 // as in the specification, "Header extensions"
	Data []byte
}

// A FeatureName is an entry of an image's feature name table.
type FeatureName struct {
	Kind string // "incompatible", "compatible", "autoclear"
	Bit  int    // 0 to 63
	Name string
}

// featureKinds lists the names of the feature types: the index is the type.
var featureKinds = []string{
	featureIncompatible: "incompatible",
	featureCompatible:   "compatible",
	featureAutoclear:    "autoclear",
}

// bitmapsExtension is the "Bitmaps extension" of the specification.
type bitmapsExtension struct {
	NbBitmaps             uint32
	Reserved              uint32
	BitmapDirectorySize   uint64 // in bytes
	BitmapDirectoryOffset uint64 // in bytes
}

// cryptoHeaderExtension is the "Full disk encryption header pointer" of the
// specification.
type cryptoHeaderExtension struct {
	Offset uint64 // in bytes
	Length uint64 // in bytes
}

const (
	bitmapsExtensionSize      = 24
	cryptoHeaderExtensionSize = 16

	// The limits of QEMU's opener (block/qcow2.h: QCOW2_MAX_BITMAPS,
	// QCOW2_MAX_BITMAP_DIRECTORY_SIZE).
	maxBitmaps              = 65535
	maxBitmapDirectoryBytes = 1024 * maxBitmaps
)

// readExtensions reads the header extensions in b, the bytes between the header
// and the backing file name.
func (i *Image) readExtensions(b []byte) error {
	for len(b) > 0 {
		if len(b) < 8 {
			return fmt.Errorf("header extension at the end has %d bytes, 8 are needed for its type and length", len(b))
		}
		kind := binary.BigEndian.Uint32(b)
		length := uint64(binary.BigEndian.Uint32(b[4:]))
		b = b[8:]
		if length > uint64(len(b)) {
			return fmt.Errorf("header extension %#x is %d bytes long, %d are left for it", kind, length, len(b))
		}
		if kind == extensionEnd {
			return nil
		}
		data := bytes.Clone(b[:length])
		b = b[min(uint64(len(b)), (length+7)&^7):]
		i.Extensions = append(i.Extensions, Extension{kind, data})
		if err := i.readExtension(kind, data); err != nil {
			return err
		}
	}
	return nil
}

func (i *Image) readExtension(kind uint32, data []byte) error {
	switch kind {
	case extensionBackingFormat:
		if len(data) > maxBackingFormatSize {
			return fmt.Errorf("backing format is %d bytes long, QEMU allows %d", len(data), maxBackingFormatSize)
		}
		i.BackingFormat = cString(data)
	case extensionDataFile:
		i.DataFile = cString(data)
	case extensionFeatureNames:
		i.FeatureNames = decodeFeatureNames(data)
	case extensionBitmaps:
		return i.readBitmapsExtension(data)
	case extensionFullEncryption:
		return i.readCryptoHeaderExtension(data)
	}
	return nil
}

func (i *Image) hasExtension(kind uint32) bool {
	for _, e := range i.Extensions {
		if e.Type == kind {
			return true
		}
	}
	return false
}

func decodeFeatureNames(data []byte) []FeatureName {
	var names []FeatureName
	for r := bytes.NewReader(data); ; {
		var f featureName
		if binary.Read(r, binary.BigEndian, &f) != nil {
			return names
		}
		if int(f.Type) < len(featureKinds) && f.Bit < 64 {
			name, _, _ := strings.Cut(string(f.Name[:]), "\x00")
			names = append(names, FeatureName{featureKinds[f.Type], int(f.Bit), name})
		}
	}
}

// readBitmapsExtension leaves i.bitmaps empty if the autoclear bit is not set.
// Then a program without support for bitmaps has changed the image, and the
// extension is not valid any more.
func (i *Image) readBitmapsExtension(data []byte) error {
	if len(data) != bitmapsExtensionSize {
		return fmt.Errorf("bitmaps extension is %d bytes long, must be %d", len(data), bitmapsExtensionSize)
	}
	if i.Header.AutoclearFeatures&autoclearBitmaps == 0 {
		return nil
	}
	var e bitmapsExtension
	if _, err := binary.Decode(data, binary.BigEndian, &e); err != nil {
		return err
	}
	switch {
	case e.Reserved != 0:
		return fmt.Errorf("bitmaps extension has %#x in its reserved field, must be 0", e.Reserved)
	case e.NbBitmaps == 0 || e.NbBitmaps > maxBitmaps:
		return fmt.Errorf("nb_bitmaps is %d, must be from 1 to %d", e.NbBitmaps, maxBitmaps)
	case e.BitmapDirectoryOffset%i.ClusterSize() != 0:
		return fmt.Errorf("bitmap_directory_offset is %d, which is not a multiple of the cluster size %d", e.BitmapDirectoryOffset, i.ClusterSize())
	case e.BitmapDirectorySize > maxBitmapDirectoryBytes:
		return fmt.Errorf("bitmap_directory_size is %d bytes, QEMU allows %d", e.BitmapDirectorySize, maxBitmapDirectoryBytes)
	}
	i.bitmaps = e
	return nil
}

func (i *Image) readCryptoHeaderExtension(data []byte) error {
	if i.Header.CryptMethod != cryptLUKS {
		return errors.New("encryption header extension is there, but crypt_method is not 2 (LUKS)")
	}
	if len(data) != cryptoHeaderExtensionSize {
		return fmt.Errorf("encryption header extension is %d bytes long, must be %d", len(data), cryptoHeaderExtensionSize)
	}
	var e cryptoHeaderExtension
	if _, err := binary.Decode(data, binary.BigEndian, &e); err != nil {
		return err
	}
	if e.Offset%i.ClusterSize() != 0 {
		return fmt.Errorf("encryption header is at offset %d, which is not a multiple of the cluster size %d", e.Offset, i.ClusterSize())
	}
	i.cryptoHeader = e
	return nil
}
