package qcow2

import "fmt"

// checkBitmaps counts the references of the bitmap directory, of the bitmap
// tables, and to their data. It fails if one of them is damaged: QEMU does not
// open such an image, even to check it.
func (c *checker) checkBitmaps() error {
	b := &c.image.bitmaps
	if b.NbBitmaps == 0 {
		return nil
	}
	c.refer("bitmap directory", b.BitmapDirectoryOffset, b.BitmapDirectorySize, 1)
	var tables []table
	err := c.image.readBitmapDirectory(c.r, c.size, func(e *bitmapDirectoryEntry, _ string) {
		tables = append(tables, table{offset: e.TableOffset, length: uint64(e.TableSize) * bitmapTableEntrySize})
	})
	if err != nil {
		return err
	}
	return c.checkTables("bitmap table", tables, func(entry, _, all uint64) error {
		offset := entry & bitmapEntryOffset
		if entry&bitmapEntryReserved != 0 || offset != 0 && entry&bitmapEntryAllOnes != 0 || offset%c.clusterSize != 0 {
			return fmt.Errorf("bitmap table entry %#x is not valid", entry)
		}
		if offset != 0 {
			c.refer("bitmap data", offset, c.clusterSize, all)
		}
		return nil
	})
}
