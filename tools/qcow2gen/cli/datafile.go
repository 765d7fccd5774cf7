package cli

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// This file creates the external data file. QEMU opens it relative to the
// working directory, not to the directory of the image.

// sectorSize is in bytes. The size of every disk is a multiple of it.
const sectorSize = 512

// dataFile is the path of the external data file.
func (c *createArgs) dataFile() string {
	return dataFileName(c.values["data_file"].text)
}

// dataFileName is the name of the data file that the image records. Like
// qemu-img, it puts ./ in front of a path with a colon that follows file:.
func dataFileName(text string) string {
	path, ok := strings.CutPrefix(text, "file:")
	if i := strings.IndexAny(path, ":/"); ok && i >= 0 && path[i] == ':' {
		return "./" + path
	}
	return path
}

func (c *createArgs) checkDataFile() error {
	if !c.values["keep_data_file"].on {
		return nil
	}
	if !c.values.has("data_file") {
		return errors.New("keep_data_file=on needs data_file with the name of the file to keep")
	}
	if !c.preallocated() {
		return errors.New("keep_data_file=on needs preallocation=metadata or data_file_raw=on; otherwise a guest does not see the contents")
	}
	return nil
}

// preallocated reports whether every cluster of the data file is allocated from
// the start.
func (c *createArgs) preallocated() bool {
	return c.values["preallocation"].text == string(qcow2.PreallocationMetadata) || c.values["data_file_raw"].on
}

// writeDataFile creates the data file with zeros and the length of the disk. With
// keep_data_file it extends the existing file to that length.
func (c *createArgs) writeDataFile(out *outputs) error {
	length := roundUp(c.size, c.dataFileUnit())
	if length > math.MaxInt64 {
		return fmt.Errorf("it needs to be %d bytes long; files end at %d bytes", length, int64(math.MaxInt64))
	}
	if c.values["keep_data_file"].on {
		return out.grow(c.dataFile(), int64(length))
	}
	if c.dataFile() == "" {
		return os.ErrNotExist
	}
	f, err := out.create(c.dataFile())
	if err != nil {
		return err
	}
	return f.Truncate(int64(length))
}

// dataFileUnit is the unit of allocation in bytes. Like qemu-img, writeDataFile
// rounds the length of the data file up to it.
func (c *createArgs) dataFileUnit() uint64 {
	switch {
	case !c.preallocated():
		return sectorSize
	case c.values["extended_l2"].on:
		return max(c.clusterSize()/32, sectorSize)
	}
	return max(c.clusterSize(), sectorSize)
}

// clusterSize is in bytes.
func (c *createArgs) clusterSize() uint64 {
	if value, ok := c.values["cluster_size"]; ok {
		return value.number
	}
	return qcow2.DefaultClusterSize
}

// roundUp rounds n up to a multiple of unit, or down if the result would overflow.
func roundUp(n, unit uint64) uint64 {
	if n > math.MaxUint64-(unit-1) {
		return n / unit * unit
	}
	return (n + unit - 1) / unit * unit
}
