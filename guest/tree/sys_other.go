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
	dense        bool
}

func systemOf(fs.FileInfo) system { return system{} }

func makeFIFO(string, uint32) error  { return errors.ErrUnsupported }
func makeDevice(string, entry) error { return errors.ErrUnsupported }

func setTime(path string, mtime time.Time) error {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSymlink {
		return nil
	}
	return os.Chtimes(path, time.Time{}, mtime)
}

// A newFile is a file to write.
type newFile struct{ *os.File }

// createFile makes a file that does not exist yet.
func createFile(parent *level, name string, perm uint32) (newFile, error) {
	f, err := parent.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(perm))
	return newFile{f}, err
}

func (f newFile) mode() (uint32, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fromMode(info.Mode()), nil
}

func (f newFile) setTime(mtime time.Time) error { return setTime(f.Name(), mtime) }
