package qcow2

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// ReadAt reads len(p) bytes of guest data from byte off of the virtual disk, as
// io.ReaderAt specifies. It reads fewer only with an error, which is io.EOF at
// the end of the disk. An error about a damaged table names the layer, table,
// entry and offset.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("qcow2: read at offset %d, at least 0 is needed", off)
	}
	n := int(max(0, min(int64(len(p)), d.size-off)))
	// The caller owns all of p. A decompressor may use the bytes after n, and
	// bytes that are not read yet, as scratch space.
	if err := d.readLayer(0, p[:n:len(p)], off); err != nil {
		return 0, err
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readLayer fills p with the data at off in the layer at depth, and in the
// layers below for clusters that it does not contain.
func (d *Disk) readLayer(depth int, p []byte, off int64) error {
	if depth == len(d.layers) {
		clear(p)
		return nil
	}
	l := d.layers[depth]
	for len(p) > 0 {
		// A disk is zero after the end of its backing file.
		if off >= l.size {
			clear(p)
			return nil
		}
		r, err := l.run(off, min(int64(len(p)), l.size-off))
		if err != nil {
			return err
		}
		part := p[:r.length]
		switch r.kind {
		case unallocated:
			err = d.readLayer(depth+1, part, off)
		case zero:
			clear(part)
		case normal:
			if err = l.data.readAt(part, r.host); err != nil {
				err = l.errorf("guest offset %d: %w", off, err)
			}
		case compressed:
			err = d.readCompressed(l, part, r.descriptor, off)
		}
		if err != nil {
			return err
		}
		p, off = p[r.length:], off+r.length
	}
	return nil
}

// A file contains a layer or its data.
type file struct {
	r    io.ReaderAt
	size int64  // in bytes
	path string // "" if it was not opened by one
	os   *os.File
}

// readAt fills p from offset off. The file reads as zeros after its end, because
// a writer need not fill the last cluster, whether it is a table, data or
// compressed.
func (f *file) readAt(p []byte, off int64) error {
	n := max(0, min(int64(len(p)), f.size-off))
	clear(p[n:])
	if n == 0 {
		return nil
	}
	got, err := f.r.ReadAt(p[:n], off)
	switch {
	case int64(got) == n:
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return fmt.Errorf("file was %d bytes long when it was opened, and now ends at %d", f.size, off+int64(got))
	}
	return err
}

// checkLength returns an error if a file has become shorter since it was opened.
// The part after its end looks like a hole, so a read of the whole disk does not
// notice.
func (d *Disk) checkLength() error {
	for _, l := range d.layers {
		for _, f := range []*file{l.file, l.data} {
			if f.os == nil {
				continue
			}
			info, err := f.os.Stat()
			if err != nil {
				return l.errorf("%w", err)
			}
			if info.Mode().IsRegular() && info.Size() < f.size {
				return l.errorf("file was %d bytes long when it was opened, and now ends at %d", f.size, info.Size())
			}
		}
	}
	return nil
}
