package cli

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// The external data file, which qemu-img create makes along with the image.
// QEMU takes its name from the working directory, not from where the image is.

// sectorSize is the unit in bytes of which every disk has a whole number.
const sectorSize = 512

// dataFile is the path of the external data file.
func (c *createArgs) dataFile() string {
	return strings.TrimPrefix(c.values["data_file"].text, "file:")
}

func (c *createArgs) checkDataFile() error {
	if !c.values["keep_data_file"].on {
		return nil
	}
	if !c.values.has("data_file") {
		return errors.New("keep_data_file is on without data_file, which has to name the file to keep")
	}
	if !c.preallocated() {
		return errors.New("keep_data_file is on, which needs preallocation=metadata or data_file_raw=on: the contents would not be visible")
	}
	return nil
}

// preallocated reports whether every cluster of the data file is in use from
// the start.
func (c *createArgs) preallocated() bool {
	return c.values["preallocation"].text == string(qcow2.PreallocationMetadata) || c.values["data_file_raw"].on
}

// writeDataFile makes the data file, of zeros and as long as the disk, or makes
// one that is kept long enough.
func (c *createArgs) writeDataFile(out *outputs) error {
	length := roundUp(c.size, c.dataFileUnit())
	if length > math.MaxInt64 {
		return fmt.Errorf("it would have to be %d bytes long, which no file can be", length)
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

// dataFileUnit is the number of bytes of which qemu-img makes the data file a
// multiple: what can be allocated on its own.
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
	return defaultClusterSize
}

// roundUp rounds n up to a multiple of unit, or down to the last one that there
// is.
func roundUp(n, unit uint64) uint64 {
	if n > math.MaxUint64-(unit-1) {
		return n / unit * unit
	}
	return (n + unit - 1) / unit * unit
}
