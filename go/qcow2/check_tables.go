package qcow2

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// table is a table of 8-byte entries in the file: an L1 table or a bitmap
// table.
type table struct {
	offset uint64 // in bytes
	length uint64 // in bytes
	active bool   // the active L1 table
}

// checkTables counts the references to tables, and calls visit for each entry
// that is not zero. Tables overlap only in damaged or malicious images. visit
// is called once for an entry of several tables: all is the number of tables
// with the entry, and active the number of active ones.
func (c *checker) checkTables(what string, tables []table, visit func(entry, active, all uint64) error) error {
	clusters := make([]table, 0, len(tables))
	for _, t := range tables {
		if t.length == 0 {
			continue
		}
		if t.offset > maxFileLength-t.length {
			return fmt.Errorf("%s is at offset %d, which is beyond any file", what, t.offset)
		}
		if c.withinFile(what, t.offset, t.length, 1) {
			clusters = append(clusters, table{t.offset, ceilDiv(t.length, c.clusterSize) * c.clusterSize, t.active})
		}
	}
	err := sweep(clusters, func(start, end, _, all uint64) error {
		c.referToClusters(start>>c.clusterBits, end>>c.clusterBits, all)
		return nil
	})
	if err != nil {
		return err
	}
	return sweep(tables, func(start, end, active, all uint64) error {
		return c.readEntries(start, end, func(_ int, entry uint64) error { return visit(entry, active, all) })
	})
}

// sweep calls visit for the parts of the file that tables cover, in ascending
// order and once for each part, with the numbers of tables that cover it.
func sweep(tables []table, visit func(start, end, active, all uint64) error) error {
	type boundary struct {
		offset      uint64
		active, all int64 // change of the number of tables
	}
	boundaries := make([]boundary, 0, 2*len(tables))
	for _, t := range tables {
		active := int64(0)
		if t.active {
			active = 1
		}
		boundaries = append(boundaries, boundary{t.offset, active, 1}, boundary{t.offset + t.length, -active, -1})
	}
	slices.SortFunc(boundaries, func(a, b boundary) int {
		switch {
		case a.offset < b.offset:
			return -1
		case a.offset > b.offset:
			return 1
		}
		return 0
	})
	var active, all int64
	for i, b := range boundaries {
		if all > 0 && boundaries[i-1].offset < b.offset {
			if err := visit(boundaries[i-1].offset, b.offset, uint64(active), uint64(all)); err != nil {
				return err
			}
		}
		active += b.active
		all += b.all
	}
	return nil
}

// readEntries calls visit for all 8-byte entries from offset start to before
// end that are not zero, with their index from start. The file reads as zeros
// after its end.
func (c *checker) readEntries(start, end uint64, visit func(index int, entry uint64) error) error {
	end = min(end, c.size)
	if start >= end {
		return nil
	}
	b := make([]byte, min(end-start, 64<<10))
	for offset := start; offset < end; offset += uint64(len(b)) {
		b = b[:min(end-offset, uint64(len(b)))]
		if err := readZeroPadded(c.r, b, int64(offset)); err != nil {
			return err
		}
		for i := 0; i+8 <= len(b); i += 8 {
			if entry := binary.BigEndian.Uint64(b[i:]); entry != 0 {
				if err := visit(int(offset-start)/8+i/8, entry); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
