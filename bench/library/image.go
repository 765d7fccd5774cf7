package library

import (
	"encoding/binary"
	"os"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

const (
	clusterSize   = 65536
	l2Entries     = clusterSize / 8
	perBlock      = clusterSize / 2 // reference counts of 16 bits
	headerLength  = 3               // clusters up to the L1 table: header, refcount table, first refcount block
	entryCopied   = 1 << 63
	l1TableOffset = headerLength * clusterSize
)

// makeScattered creates an image of virtualSize bytes, in which dataClusters
// clusters of guest data are spread evenly over all L2 tables, as after long
// use. Its metadata is real; its data are holes.
func makeScattered(path string, virtualSize, dataClusters uint64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := qcow2.Generate(f, qcow2.GenerateWithFileSize(virtualSize)); err != nil {
		return err
	}
	l2Tables := virtualSize / clusterSize / l2Entries
	perTable := dataClusters / l2Tables
	// Each L2 table is followed by its data.
	first := headerLength + (l2Tables*8+clusterSize-1)/clusterSize
	l1 := make([]byte, l2Tables*8)
	next := first
	for i := range l2Tables {
		l2 := make([]byte, clusterSize)
		binary.BigEndian.PutUint64(l1[i*8:], next*clusterSize|entryCopied)
		for j := range perTable {
			binary.BigEndian.PutUint64(l2[j*(l2Entries/perTable)*8:], (next+1+j)*clusterSize|entryCopied)
		}
		if _, err := f.WriteAt(l2, int64(next*clusterSize)); err != nil {
			return err
		}
		next += 1 + perTable
	}
	if _, err := f.WriteAt(l1, l1TableOffset); err != nil {
		return err
	}
	return writeRefcounts(f, next)
}

// writeRefcounts sets the reference count of all clusters up to end to one, and of
// the refcount blocks that it writes after them.
func writeRefcounts(f *os.File, end uint64) error {
	blocks := uint64(1) // the first exists already
	for (end+blocks-1+perBlock-1)/perBlock > blocks {
		blocks++
	}
	table := make([]byte, blocks*8)
	for i := range blocks {
		offset := uint64(2 * clusterSize)
		if i > 0 {
			offset = (end + i - 1) * clusterSize
		}
		binary.BigEndian.PutUint64(table[i*8:], offset)
		block := make([]byte, clusterSize)
		for j := range min(perBlock, end+blocks-1-i*perBlock) {
			block[2*j+1] = 1
		}
		if _, err := f.WriteAt(block, int64(offset)); err != nil {
			return err
		}
	}
	if err := f.Truncate(int64((end + blocks - 1) * clusterSize)); err != nil {
		return err
	}
	_, err := f.WriteAt(table, clusterSize)
	return err
}
