package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/rules-qcow2/rules_qcow2/internal/replace"
	"github.com/rules-qcow2/rules_qcow2/internal/sparse"
	"github.com/rules-qcow2/rules_qcow2/tools/qcow2gen/tempfile"
)

// outputs are files that appear together and whole, or not at all.
//
// If the system supports it, a file does not have a name while it is written, so
// nothing is left of it if the process ends. Otherwise it has a temporary name in its
// directory, and an error or a signal removes it. The files get their names when all of
// them are complete. The file that was created first gets its name last: if it exists
// after a kill, the others exist as well.
//
// A file that replaces another one is like it, as [replace.Like] says. If it cannot be,
// or if its folder does not allow a rename, the file that exists is written in place.
// Its old contents are then lost if that fails, so files are written in place last,
// when the others have their names and only the copy itself can fail.
//
// Nothing else is synced: the files survive a kill or a full disk, but not a power
// cut, like all files of a build.
type outputs struct {
	files []*outputFile
	grown []grownFile
}

type outputFile struct {
	*os.File
	temporary string // the present name; "" if the file does not have one
	target    string // the final name, with symbolic links followed
	existed   bool
	inPlace   bool // it is copied into the target
	closed    bool
}

// A grownFile is one that exists and is extended with zeros.
type grownFile struct {
	path     string
	from, to int64 // length in bytes
}

// unnamed is a variable so that tests can do without unnamed files.
var unnamed = createUnnamed

// create returns a file that will have the name path.
func (o *outputs) create(path string) (*os.File, error) {
	target, err := followLinks(path)
	if err != nil {
		return nil, err
	}
	existed, err := checkReplaceable(target)
	if err != nil {
		return nil, err
	}
	perm := os.FileMode(0o666)
	if existed {
		perm = 0o600 // the old file may be readable for nobody else
	}
	f, temporary, err := createTemporary(directory(target), perm)
	inPlace := existed && replace.NeedsInPlace(err)
	if inPlace {
		dir := os.TempDir()
		if f, temporary, err = createTemporary(dir+"/", perm); err != nil {
			return nil, fmt.Errorf("its folder does not allow a temporary file, and %s does not either: %s; set TMPDIR to a folder with room for the file", dir, reason(err))
		}
	}
	if err != nil {
		return nil, err
	}
	o.files = append(o.files, &outputFile{File: f, temporary: temporary, target: target, existed: existed, inPlace: inPlace})
	return f, nil
}

// createTemporary creates a file in dir, which is empty or ends in a slash. The file
// has the name that is returned, or none.
func createTemporary(dir string, perm os.FileMode) (f *os.File, name string, err error) {
	if f, err := unnamed(dir, perm); err == nil {
		return f, "", nil
	}
	if f, err = tempfile.Create(dir, perm); err != nil {
		return nil, "", err
	}
	return f, f.Name(), nil
}

// grow extends the existing file at path with zeros to at least size bytes.
func (o *outputs) grow(path string, size int64) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if _, err := checkReplaceable(path); err != nil {
		return err
	}
	if info.Size() < size {
		o.grown = append(o.grown, grownFile{path, info.Size(), size})
	}
	return nil
}

// commit gives the files their names.
func (o *outputs) commit() (err error) {
	defer tempfile.Postpone()()
	for _, f := range o.files {
		if err := f.complete(); err != nil {
			return fmt.Errorf("%s cannot be written: %s", f.target, reason(err))
		}
	}
	var undo []func()
	defer func() {
		if err != nil {
			for _, f := range undo {
				f()
			}
		}
	}()
	for _, g := range o.grown {
		undo = append(undo, func() { os.Truncate(g.path, g.from) })
		if err := os.Truncate(g.path, g.to); err != nil {
			return fmt.Errorf("%s cannot be extended to %d bytes: %s", g.path, g.to, reason(err))
		}
	}
	for _, f := range slices.Backward(o.files) {
		if f.inPlace {
			continue
		}
		err := f.publish()
		if f.existed && replace.NeedsInPlace(err) {
			f.inPlace = true
			continue
		}
		if err != nil {
			return fmt.Errorf("%s cannot be given its name: %s", f.target, reason(err))
		}
		if !f.existed {
			undo = append(undo, func() { os.Remove(f.target) })
		}
	}
	for _, f := range slices.Backward(o.files) {
		if !f.inPlace {
			continue
		}
		if err := f.overwrite(); err != nil {
			return fmt.Errorf("%s cannot be written: %s", f.target, reason(err))
		}
	}
	return nil
}

// complete prepares the file for its final name.
func (f *outputFile) complete() error {
	if f.existed && !f.inPlace {
		err := replace.Like(f.File, f.target)
		f.inPlace = replace.NeedsInPlace(err)
		if err != nil && !f.inPlace {
			return err
		}
	}
	if f.inPlace || f.temporary == "" {
		return nil // it must be open to be read or to get its name
	}
	f.closed = true
	return f.Close() // some file systems write only now
}

// publish gives the file its final name.
func (f *outputFile) publish() error {
	if f.temporary == "" {
		err := link(f.File, f.target)
		if !errors.Is(err, os.ErrExist) {
			return err
		}
		// Only a file with a name can replace another file.
		name := tempfile.Name(directory(f.target))
		f.temporary = name
		if err := link(f.File, name); err != nil {
			return err
		}
	}
	if err := tempfile.Rename(f.temporary, f.target); err != nil {
		return err
	}
	f.temporary = ""
	return nil
}

// overwrite copies the file into its target, which exists.
func (f *outputFile) overwrite() error {
	from := f.File
	if f.closed {
		var err error
		if from, err = os.Open(f.temporary); err != nil {
			return err
		}
		defer from.Close()
	}
	// QEMU may have opened the target since create.
	if _, err := checkReplaceable(f.target); err != nil {
		return err
	}
	return replace.InPlace(f.target, func(to *os.File) error { return sparse.Copy(to, from) })
}

// discard closes the files and removes those that still have a temporary name.
func (o *outputs) discard() {
	for _, f := range o.files {
		f.Close()
		if f.temporary != "" {
			tempfile.Remove(f.temporary)
		}
	}
}

// directory returns path without its last element: empty, or with a slash at the
// end. filepath.Dir would remove "link/..", which is not the same directory.
func directory(path string) string { return path[:strings.LastIndexByte(path, '/')+1] }

// followLinks returns the name of the file that path leads to. The file need not
// exist. A symbolic link stays, and its target is replaced.
func followLinks(path string) (string, error) {
	for range 40 { // Linux's own limit
		info, err := os.Lstat(path)
		if err != nil || info.Mode()&os.ModeSymlink == 0 {
			return path, nil
		}
		link, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(link) {
			link = directory(path) + link
		}
		path = link
	}
	return "", syscall.ELOOP
}

// checkReplaceable returns an error for a file that is not regular, that is
// read-only, or that is the disk of a running guest. qemu-img, which writes into
// the file, would refuse a read-only file too.
func checkReplaceable(path string) (exists bool, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return false, errors.New("it is a directory; use a regular file")
	case !mode.IsRegular():
		return false, errors.New("it is a device, a pipe or a socket; use a regular file")
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if inUse(f) {
		return false, errors.New("QEMU has it open and locked; use another name")
	}
	return true, nil
}
