package qcow2

import (
	"errors"
	"os"
)

// ChangeOptions are options of Rebase and Commit. The zero value has the defaults.
type ChangeOptions struct {
	// Compress compresses the clusters that are written.
	Compress bool
	// Workers is as in WriterOptions.
	Workers int
	// Progress, if it is not nil, is called with the number of bytes of the disk
	// that are done, and the size of the disk.
	Progress func(done, size int64)
}

func (o *ChangeOptions) writer(backing *Disk, size int64) WriterOptions {
	w := WriterOptions{Compress: o.Compress, Backing: backing, Workers: o.Workers}
	if o.Progress != nil {
		w.Progress = func(done int64) { o.Progress(done, size) }
	}
	return w
}

// Rebase changes the backing file of the image at path to the file with the name
// backing, or to none if it is empty. The contents of the disk stay the same: where
// the old and the new backing file differ and the image has no data, Rebase writes
// the data of the old one to the image.
//
// The image records backing and backingFormat, "raw", "file" or "qcow2", as Generate does.
// A relative name is relative to the directory of path. The image changes as
// OpenWriter says: until the end, it has its old backing file and its old contents.
func Rebase(path, backing, backingFormat string, options ChangeOptions) error {
	old, err := OpenChain(path, OpenWithFormat(FormatQCOW2))
	if err != nil {
		return err
	}
	defer old.Close()
	fresh := newDisk() // without layers it is empty
	if backing != "" {
		if fresh, err = OpenChain(ResolveBackingFile(path, backing), OpenWithFormat(backingFormat)); err != nil {
			return err
		}
		defer fresh.Close()
	}
	want, err := rebaseFilter(old, fresh)
	if err != nil {
		return &imageError{path, err}
	}
	return changeImage(path, options.writer(fresh, old.size), rebaseTo(backing, backingFormat), func(w *Writer) error {
		return w.copyFrom(old, want)
	})
}

// rebaseFilter returns the filter for the ranges that the backing file decides, of a
// disk whose backing file becomes fresh.
func rebaseFilter(old, fresh *Disk) (filter, error) {
	same, err := commonLayer(old, fresh)
	if err != nil {
		return nil, err
	}
	p := newProber(old, false)
	return func(off, length int64) (int64, bool, error) {
		n, present, err := p.presentAbove(1, off, length)
		if err != nil || present {
			return n, false, err
		}
		if same == 0 {
			return n, true, nil
		}
		// Below the layer that both chains have, they are the same.
		return p.presentAbove(same, off, n)
	}, nil
}

// RebaseUnsafe changes only the name and the format of the backing file that the
// image at path records. It opens no other file. The contents of the disk change if
// the files differ.
func RebaseUnsafe(path, backing, backingFormat string) error {
	return changeImage(path, WriterOptions{}, rebaseTo(backing, backingFormat), func(*Writer) error { return nil })
}

func rebaseTo(backing, format string) func(*params) error {
	return func(p *params) error {
		p.backingFile, p.hasBackingFile = backing, backing != ""
		p.backingFormat, p.backingFormatGiven = format, backing != ""
		if backing == "" {
			p.backingFormat = ""
		}
		return nil
	}
}

// commonLayer returns the depth in the chain of a of the top layer of b, or 0 if it
// is not there. The top layer of a must not be in b.
func commonLayer(a, b *Disk) (int, error) {
	same := func(x, y *layer) (bool, error) {
		infoX, err := x.file.os.Stat()
		if err != nil {
			return false, err
		}
		infoY, err := y.file.os.Stat()
		return err == nil && os.SameFile(infoX, infoY), err
	}
	for _, l := range b.layers {
		if loop, err := same(a.layers[0], l); err != nil || loop {
			return 0, errors.Join(err, errors.New("it is in the chain of its new backing file; use another backing file"))
		}
	}
	if len(b.layers) == 0 {
		return 0, nil
	}
	for depth, l := range a.layers {
		if found, err := same(l, b.layers[0]); err != nil || found {
			// The contents of the file depend on the formats.
			if err == nil && (l.Image == nil) != (b.layers[0].Image == nil) {
				return 0, nil
			}
			return depth, err
		}
	}
	return 0, nil
}

// presentAbove reports whether the layers above the one at depth have the range at
// off, and returns the length for which that is so.
func (p *prober) presentAbove(depth int, off, length int64) (int64, bool, error) {
	for d, l := range p.disk.layers[:depth] {
		if off >= l.size {
			return length, true, nil // zero after the end of the layer
		}
		s, err := p.layerStatus(d, off, length)
		if err != nil {
			return 0, false, err
		}
		if length = s.length; s.has(statusAllocated) {
			return length, true, nil
		}
	}
	return length, false, nil
}
