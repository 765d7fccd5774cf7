//go:build !linux

package tree

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

// Hosts that do not run Linux send no owners, hard links and holes, and cannot
// make FIFOs and devices.
type system struct {
	uid, gid     uint32
	links        uint64
	id           fileID
	major, minor uint32
}

func systemOf(fs.FileInfo) system { return system{} }

func nextData(*os.File, int64) (data, hole int64, err error) {
	return 0, 0, errors.ErrUnsupported
}

func makeFIFO(string, uint32) error  { return errors.ErrUnsupported }
func makeDevice(string, entry) error { return errors.ErrUnsupported }

func setTime(path string, mtime time.Time) error {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSymlink {
		return nil
	}
	return os.Chtimes(path, time.Time{}, mtime)
}
