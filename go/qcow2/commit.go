package qcow2

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/internal/replace"
)

// Commit writes the data of the image at path, and of all layers between it and
// base, to base. base is a layer below the image: a path, the name that the layer
// above it records, or "" for the backing file. If base is smaller than the image, it
// grows. The contents of other images on base change.
//
// Unless keep is true or base names a layer further down, the image is empty then: a
// new file with the same options, mode, owner and, on Linux, extended attributes
// replaces it. If the new file cannot have them, if the image has several hard links,
// or if its folder does not allow a rename, it is emptied in place.
//
// A qcow2 base changes as OpenWriter says, a raw base in place. If the program ends
// before, the image still has its contents, and Commit can be repeated. Nothing else
// may use the chain at the same time.
func Commit(path, base string, keep bool, options ChangeOptions) error {
	top, err := OpenChain(path, OpenWithFormat(FormatQCOW2))
	if err != nil {
		return err
	}
	defer top.Close()
	depth, err := top.findBase(base)
	if err != nil {
		return &imageError{path, err}
	}
	keep = keep || depth > 1
	if !keep {
		if err := top.layers[0].Image.checkChangeable(); err != nil {
			return &imageError{path, err}
		}
	}
	if err := commit(top, depth, options); err != nil || keep {
		return err
	}
	if err := replaceByEmpty(path, top.layers[0].Image); err != nil {
		return &imageError{path, err}
	}
	return nil
}

// commit writes the data of the layers above the one at depth to that one.
func commit(top *Disk, depth int, options ChangeOptions) error {
	target := top.layers[depth]
	p := newProber(top, false)
	want := func(off, length int64) (int64, bool, error) {
		if off >= target.size {
			return length, true, nil
		}
		return p.presentAbove(depth, off, min(length, target.size-off))
	}
	if target.Image == nil {
		if err := commitRaw(top, target, want, options); err != nil {
			return &imageError{target.Path, err}
		}
		return nil
	}
	contents, err := OpenChain(target.Path, OpenWithFormat(FormatQCOW2))
	if err != nil {
		return err
	}
	defer contents.Close()
	// Where the base grows, its own backing file would come into view.
	contents.size = max(contents.size, top.size)
	contents.layers[0].size = contents.size
	grow := func(p *params) error {
		p.size = max(p.size, uint64(top.size))
		return nil
	}
	return changeImage(target.Path, options.writer(contents, top.size), grow, func(w *Writer) error {
		return w.copyFrom(top, want)
	})
}

// findBase returns the depth of the layer that base names.
func (d *Disk) findBase(base string) (int, error) {
	if len(d.layers) == 1 {
		return 0, errors.New("the image does not have a backing file (nothing to commit to)")
	}
	if base == "" {
		return 1, nil
	}
	info, statErr := os.Stat(base)
	for depth := 1; depth < len(d.layers); depth++ {
		if d.layers[depth-1].Image.BackingFile == base {
			return depth, nil
		}
		if other, err := d.layers[depth].file.os.Stat(); statErr == nil && err == nil && os.SameFile(info, other) {
			return depth, nil
		}
	}
	return 0, fmt.Errorf("%q is not a layer below the image", base)
}

// commitRaw writes the wanted ranges of the disk to a raw file.
func commitRaw(top *Disk, target *layer, want filter, options ChangeOptions) error {
	f, err := os.OpenFile(target.Path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if top.size > target.size {
		if err := f.Truncate(top.size); err != nil {
			return fmt.Errorf("it has %d bytes, less than the image with %d, and cannot grow: %w", target.size, top.size, err)
		}
	}
	buffer := make([]byte, pieceBytes)
	for off := int64(0); off < top.size; {
		length, wanted, err := want(off, top.size-off)
		if err != nil {
			return err
		}
		if wanted {
			length = min(length, pieceBytes)
			b := buffer[:length]
			if err := top.readLayer(0, b, off); err != nil {
				return err
			}
			if off < target.FileSize || !isZero(b) {
				if _, err := f.WriteAt(b, off); err != nil {
					return err
				}
			}
		}
		off += length
		if options.Progress != nil {
			options.Progress(off, top.size)
		}
	}
	return errors.Join(f.Sync(), f.Close())
}

// replaceByEmpty replaces the file at path, an image, by one without data.
func replaceByEmpty(path string, image *Image) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	generate := func(f *os.File) error { return image.params().generate(f) }
	if err = replaceFile(path, generate); replace.NeedsInPlace(err) {
		return replace.InPlace(path, generate)
	}
	return err
}

// replaceFile replaces the file at path by a new one with the contents that write
// writes.
func replaceFile(path string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".qcow2-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = replace.Like(f, path)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// changeImage opens the image at path for changes, and closes it after f.
func changeImage(path string, options WriterOptions, change func(*params) error, f func(*Writer) error) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	w, err := openWriter(file, size, options, change)
	if err == nil {
		err = f(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		return &imageError{path, err}
	}
	return nil
}

// An imageError adds the path of the image to an error.
type imageError struct {
	path string
	err  error
}

func (e *imageError) Error() string {
	reason := strings.TrimPrefix(e.err.Error(), "qcow2: ")
	return fmt.Sprintf("qcow2: %s: %s", e.path, strings.TrimPrefix(reason, e.path+": "))
}

func (e *imageError) Unwrap() error { return e.err }
