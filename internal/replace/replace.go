// Package replace gives existing files new contents. Where it can, a new file gets
// everything that the old one has, and then its name: the old file stays whole until
// then. Otherwise the existing file is written in place.
package replace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// errUnlike is the reason for writing in place of a file that cannot be like the old one.
var errUnlike = errors.New("the new file cannot have all properties of the old one")

// Like gives f the owner, the group, the extended attributes and the mode of the file
// at path, so that f can replace it. The caller creates f with mode 0600 and its
// contents, because others may be allowed to read f afterwards. If f cannot have all
// of them, or if the file at path has other hard links, [InPlace] must write the file.
//
// Extended attributes include access control lists. Like copies them on Linux only. On
// Windows it copies the mode only.
func Like(f *os.File, path string) error {
	want, err := os.Stat(path)
	if err != nil {
		return err
	}
	// A change of the owner clears mode bits, and an access control list is a part
	// of the mode, so the mode is last.
	err = copyOwner(f, want)
	if err == nil {
		err = copyAttributes(f, path)
	}
	if err == nil {
		err = copyMode(f, want)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUnlike, err)
	}
	return nil
}

// copyMode fails if the system ignores a bit, such as that for a group to which this
// process does not belong.
func copyMode(f *os.File, want os.FileInfo) error {
	if err := f.Chmod(want.Mode()); err != nil {
		return err
	}
	got, err := f.Stat()
	if err == nil && got.Mode() != want.Mode() {
		err = fmt.Errorf("its mode is %v, not %v", got.Mode(), want.Mode())
	}
	return err
}

// NeedsInPlace reports whether err, of [Like] or of a call that creates or renames a
// file, means that an existing file can only be written in place.
func NeedsInPlace(err error) bool {
	for _, reason := range []error{
		errUnlike,
		fs.ErrPermission, // EACCES and EPERM
		syscall.EROFS,
		syscall.EBUSY, // the file is a mount point
		syscall.EXDEV,
	} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

// InPlace replaces the contents of the file at path by those that write writes to it.
// The file is empty when write is called. If write fails, the file stays empty.
func InPlace(path string, write func(*os.File) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(0); err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync() // some file systems report errors only now
	}
	if err == nil {
		return f.Close()
	}
	f.Truncate(0) // part of an image may look like an image
	var inner *fs.PathError
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return fmt.Errorf("it was written in place, its old contents are lost, and it is empty now: %w", err)
}
