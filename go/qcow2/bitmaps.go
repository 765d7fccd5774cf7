package qcow2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A Bitmap is a dirty bitmap that is stored in an image.
type Bitmap struct {
	Name        string
	Granularity uint64 // in bytes of the disk for each bit
	InUse       bool   // not saved properly: its contents may be wrong
	Auto        bool   // writers must keep it up to date
}

// bitmapDirectoryEntry is the part of a "Bitmap directory" entry that has a
// fixed size. Extra data, which must be empty, and the name follow.
type bitmapDirectoryEntry struct {
	TableOffset     uint64 // in bytes
	TableSize       uint32 // in entries
	Flags           uint32
	Type            uint8
	GranularityBits uint8
	NameSize        uint16 // in bytes
	ExtraDataSize   uint32 // in bytes
}

const (
	bitmapDirectoryEntrySize = 24
	bitmapTableEntrySize     = 8

	bitmapInUse    uint32 = 1 << 0
	bitmapAuto     uint32 = 1 << 1
	bitmapDirtying uint8  = 1 // the only type

	bitmapEntryOffset   uint64 = 0x00fffffffffffe00
	bitmapEntryReserved uint64 = 0xff000000000001fe
	bitmapEntryAllOnes  uint64 = 1 << 0

	// The limits of QEMU's opener (block/qcow2-bitmap.c: BME_MAX_TABLE_SIZE,
	// BME_MAX_PHYS_SIZE, BME_MIN_GRANULARITY_BITS, BME_MAX_GRANULARITY_BITS,
	// BME_MAX_NAME_SIZE).
	maxBitmapTableSize   = 0x8000000  // in entries
	maxBitmapBytes       = 0x20000000 // of data
	minBitmapGranularity = 9
	maxBitmapGranularity = 31
	maxBitmapNameSize    = 1023
)

// readBitmaps fills in i.Bitmaps.
func (i *Image) readBitmaps(r io.ReaderAt, size int64) error {
	return i.readBitmapDirectory(r, uint64(size), func(e *bitmapDirectoryEntry, name string) {
		i.Bitmaps = append(i.Bitmaps, Bitmap{
			Name:        name,
			Granularity: 1 << e.GranularityBits,
			InUse:       e.Flags&bitmapInUse != 0,
			Auto:        e.Flags&bitmapAuto != 0,
		})
	})
}

// readBitmapDirectory calls visit for each bitmap of the image in r, which is
// size bytes long. It refuses images that QEMU does not open.
func (i *Image) readBitmapDirectory(r io.ReaderAt, size uint64, visit func(e *bitmapDirectoryEntry, name string)) error {
	start, length := i.bitmaps.BitmapDirectoryOffset, i.bitmaps.BitmapDirectorySize
	if length > 0 && start >= size {
		return errors.New("bitmap directory: it is beyond the end of the file")
	}
	directory := make([]byte, length)
	if err := readZeroPadded(r, directory, int64(start)); err != nil {
		return err
	}
	names := map[string]bool{}
	for len(directory) > 0 {
		var entry bitmapDirectoryEntry
		if _, err := binary.Decode(directory, binary.BigEndian, &entry); err != nil {
			return errors.New("bitmap directory: it ends within an entry")
		}
		// Entries begin at multiples of 8 bytes.
		length := (bitmapDirectoryEntrySize + int(entry.NameSize) + int(entry.ExtraDataSize) + 7) &^ 7
		if length > len(directory) {
			return errors.New("bitmap directory: it ends within an entry")
		}
		if err := i.checkBitmapDirectoryEntry(&entry); err != nil {
			return fmt.Errorf("bitmap directory: entry %d: %w", len(names), err)
		}
		name := cString(directory[bitmapDirectoryEntrySize:][:entry.NameSize])
		if names[name] {
			return fmt.Errorf("bitmap directory: entry %d: another bitmap has the name %q", len(names), name)
		}
		names[name] = true
		visit(&entry, name)
		directory = directory[length:]
	}
	if len(names) != int(i.bitmaps.NbBitmaps) {
		return fmt.Errorf("bitmap directory: it has %d entries, the header says %d", len(names), i.bitmaps.NbBitmaps)
	}
	return nil
}

func (i *Image) checkBitmapDirectoryEntry(e *bitmapDirectoryEntry) error {
	switch {
	case e.ExtraDataSize != 0:
		return fmt.Errorf("extra_data_size is %d, only 0 is supported", e.ExtraDataSize)
	case e.TableSize == 0 || e.TableSize > maxBitmapTableSize || uint64(e.TableSize)*i.ClusterSize() > maxBitmapBytes:
		return fmt.Errorf("bitmap_table_size is %d entries, for at most %d bytes of data", e.TableSize, maxBitmapBytes)
	case e.TableOffset == 0 || e.TableOffset%i.ClusterSize() != 0:
		return fmt.Errorf("bitmap_table_offset is %d, which is not a multiple of the cluster size", e.TableOffset)
	case e.GranularityBits < minBitmapGranularity || e.GranularityBits > maxBitmapGranularity:
		return fmt.Errorf("granularity_bits is %d, must be from %d to %d", e.GranularityBits, minBitmapGranularity, maxBitmapGranularity)
	case e.Flags&^(bitmapInUse|bitmapAuto) != 0:
		return fmt.Errorf("flags are %#x, which has reserved bits set", e.Flags)
	case e.NameSize > maxBitmapNameSize:
		return fmt.Errorf("name is %d bytes long, QEMU allows %d", e.NameSize, maxBitmapNameSize)
	case e.Type != bitmapDirtying:
		return fmt.Errorf("type is %d, must be %d (dirty tracking)", e.Type, bitmapDirtying)
	}
	// The disk may have been resized since a bitmap was last saved properly.
	if e.Flags&bitmapInUse == 0 {
		bits := ceilDiv(i.Header.Size/sectorSize*sectorSize, 1<<e.GranularityBits)
		if needed := ceilDiv(bits, 8*i.ClusterSize()); uint64(e.TableSize) != needed {
			return fmt.Errorf("bitmap_table_size is %d entries, the disk needs %d", e.TableSize, needed)
		}
	}
	return nil
}
