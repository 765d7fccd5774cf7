package qcow2

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// bitmapDirectoryEntry is the part of a "Bitmap directory" entry that has a
// fixed size. Extra data, of which none is defined, and the name follow.
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

	// What QEMU's opener accepts (block/qcow2-bitmap.c: BME_MAX_TABLE_SIZE,
	// BME_MAX_PHYS_SIZE, BME_MIN_GRANULARITY_BITS, BME_MAX_GRANULARITY_BITS,
	// BME_MAX_NAME_SIZE).
	maxBitmapTableSize   = 0x8000000  // in entries
	maxBitmapBytes       = 0x20000000 // of data
	minBitmapGranularity = 9
	maxBitmapGranularity = 31
	maxBitmapNameSize    = 1023
)

// checkBitmaps counts the references of the bitmap directory, of the bitmaps'
// tables, and to their data. It fails where one of them is damaged: QEMU does
// not open such an image, whether to check it or not.
func (c *checker) checkBitmaps() error {
	b := &c.image.bitmaps
	if b.NbBitmaps == 0 {
		return nil
	}
	c.refer("bitmap directory", b.BitmapDirectoryOffset, b.BitmapDirectorySize, 1)
	tables, err := c.readBitmapDirectory()
	if err != nil {
		return fmt.Errorf("bitmap directory: %w", err)
	}
	return c.checkTables("bitmap table", tables, func(entry, _, all uint64) error {
		offset := entry & bitmapEntryOffset
		if entry&bitmapEntryReserved != 0 || offset != 0 && entry&bitmapEntryAllOnes != 0 || offset%c.clusterSize != 0 {
			return fmt.Errorf("bitmap table entry %#x is none that is allowed", entry)
		}
		if offset != 0 {
			c.refer("bitmap data", offset, c.clusterSize, all)
		}
		return nil
	})
}

// readBitmapDirectory returns the tables of all bitmaps.
func (c *checker) readBitmapDirectory() ([]table, error) {
	b := &c.image.bitmaps
	start, length := b.BitmapDirectoryOffset, b.BitmapDirectorySize
	if start > c.size || length > c.size-start {
		return nil, errors.New("it is beyond the end of the file")
	}
	directory := make([]byte, length)
	if err := readZeroPadded(c.r, directory, int64(start)); err != nil {
		return nil, err
	}
	var tables []table
	names := map[string]bool{}
	for len(directory) > 0 {
		var entry bitmapDirectoryEntry
		if _, err := binary.Decode(directory, binary.BigEndian, &entry); err != nil {
			return nil, errors.New("it ends within an entry")
		}
		// Entries begin at multiples of 8 bytes.
		length := (bitmapDirectoryEntrySize + int(entry.NameSize) + int(entry.ExtraDataSize) + 7) &^ 7
		if length > len(directory) {
			return nil, errors.New("it ends within an entry")
		}
		if err := c.checkBitmapDirectoryEntry(&entry); err != nil {
			return nil, fmt.Errorf("entry %d: %w", len(tables), err)
		}
		name := cString(directory[bitmapDirectoryEntrySize:][:entry.NameSize])
		if names[name] {
			return nil, fmt.Errorf("entry %d: there is another bitmap of the name %q", len(tables), name)
		}
		names[name] = true
		tables = append(tables, table{offset: entry.TableOffset, length: uint64(entry.TableSize) * bitmapTableEntrySize})
		directory = directory[length:]
	}
	if len(tables) != int(b.NbBitmaps) {
		return nil, fmt.Errorf("it has %d entries, the header says %d", len(tables), b.NbBitmaps)
	}
	return tables, nil
}

func (c *checker) checkBitmapDirectoryEntry(e *bitmapDirectoryEntry) error {
	switch {
	case e.ExtraDataSize != 0:
		return fmt.Errorf("extra_data_size is %d, only 0 is supported", e.ExtraDataSize)
	case e.TableSize == 0 || e.TableSize > maxBitmapTableSize || uint64(e.TableSize)*c.clusterSize > maxBitmapBytes:
		return fmt.Errorf("bitmap_table_size is %d entries, for at most %d bytes of data", e.TableSize, maxBitmapBytes)
	case e.TableOffset == 0 || e.TableOffset%c.clusterSize != 0:
		return fmt.Errorf("bitmap_table_offset is %d, which is no multiple of the cluster size", e.TableOffset)
	case e.GranularityBits < minBitmapGranularity || e.GranularityBits > maxBitmapGranularity:
		return fmt.Errorf("granularity_bits is %d, allowed are %d to %d", e.GranularityBits, minBitmapGranularity, maxBitmapGranularity)
	case e.Flags&^(bitmapInUse|bitmapAuto) != 0:
		return fmt.Errorf("flags are %#x, of which some are reserved", e.Flags)
	case e.NameSize > maxBitmapNameSize:
		return fmt.Errorf("name is %d bytes long, QEMU allows %d", e.NameSize, maxBitmapNameSize)
	case e.Type != bitmapDirtying:
		return fmt.Errorf("type is %d, the only one is %d (dirty tracking)", e.Type, bitmapDirtying)
	}
	// A bitmap that was not saved properly may have another size than the
	// disk, which has been resized meanwhile.
	if e.Flags&bitmapInUse == 0 {
		bits := ceilDiv(c.image.Header.Size/sectorSize*sectorSize, 1<<e.GranularityBits)
		if needed := ceilDiv(bits, 8*c.clusterSize); uint64(e.TableSize) != needed {
			return fmt.Errorf("bitmap_table_size is %d entries, the disk needs %d", e.TableSize, needed)
		}
	}
	return nil
}
