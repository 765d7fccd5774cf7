package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// A targetFile is the file that convert writes. It keeps its first error, to tell
// it from errors of the source.
type targetFile struct {
	*os.File
	progress *progress // of Write
	failure  error
}

func (f *targetFile) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	if f.keep(err) == nil && f.progress.stdout != nil {
		if offset, err := f.Seek(0, io.SeekCurrent); err == nil {
			f.progress.at(offset)
		}
	}
	return n, err
}

func (f *targetFile) WriteAt(b []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(b, off)
	return n, f.keep(err)
}

func (f *targetFile) Truncate(size int64) error { return f.keep(f.File.Truncate(size)) }

func (f *targetFile) keep(err error) error {
	if f.failure == nil {
		f.failure = err
	}
	return err
}

// A zeroedFile is a file that reads as zeros and keeps its length. For the library
// it is an empty one: a hole that "extends" it costs nothing.
type zeroedFile struct {
	*targetFile
	end int64
}

func (f *zeroedFile) Truncate(size int64) error {
	f.end = size
	return nil
}

func (f *zeroedFile) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekEnd {
		offset, whence = f.end+offset, io.SeekStart
	}
	return f.targetFile.Seek(offset, whence)
}

func (f *zeroedFile) Write(b []byte) (int, error) {
	n, err := f.targetFile.Write(b)
	f.end += int64(n)
	return n, err
}

// A plainWriter hides all methods but Write, so that zeros are written.
type plainWriter struct{ io.Writer }

// checkTarget refuses a target that is a file of the source.
func (c *convertArgs) checkTarget(src *source) error {
	if slices.ContainsFunc(src.inputs(), func(input string) bool { return sameFile(c.target.path, input) }) {
		return errors.New("it is the source or a file that the source needs; use another target")
	}
	return nil
}

// openExisting opens the target, which exists.
func (c *convertArgs) openExisting(src *source) (*os.File, error) {
	path := c.target.path
	if err := c.checkTarget(src); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() && !isBlockDevice(path) {
		return nil, errors.New("it is neither a regular file nor a block device; use another target")
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if inUse(f) {
		f.Close()
		return nil, errors.New("QEMU has it open and locked; use another name")
	}
	return f, nil
}

// writeExisting writes to a target that exists, which changes at once.
func (c *convertArgs) writeExisting(src *source, p *progress) (err error) {
	if c.format == qcow2.FormatQCOW2 {
		return c.changeQCOW2(src, p)
	}
	f, err := c.openExisting(src)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if size < int64(c.target.size) {
		return fmt.Errorf("it has %d bytes, less than the %d of the source; use a larger target", size, c.target.size)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	target := &targetFile{File: f, progress: p}
	var w io.Writer = plainWriter{target}
	if c.targetIsZero && !c.keepZeros {
		w = &zeroedFile{targetFile: target}
	}
	if _, err := src.WriteTo(w); err != nil {
		return c.copyError(target, err)
	}
	if err := src.checkUnchanged(); err != nil {
		return &readError{err}
	}
	if c.sync || isBlockDevice(c.target.path) {
		return f.Sync()
	}
	return nil
}

// changeQCOW2 writes the source into a qcow2 image that exists, where they differ.
func (c *convertArgs) changeQCOW2(src *source, p *progress) error {
	f, err := c.openExisting(src)
	if err != nil {
		return err
	}
	defer f.Close()
	if !lockLikeQEMU(f) {
		return errors.New("QEMU has it open and locked; use another name")
	}
	contents, err := openDisk(c.target.file, qcow2.FormatQCOW2)
	if err != nil {
		return err
	}
	defer contents.Close()
	if contents.Size() < src.Size() {
		return fmt.Errorf("its virtual size is %d bytes, less than the %d of the source; use a larger target", contents.Size(), src.Size())
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	target := &targetFile{File: f, progress: p}
	w, err := qcow2.OpenWriter(target, size, qcow2.WriterOptions{
		Compress:  c.compress,
		Backing:   contents,
		KeepZeros: c.keepZeros,
		Workers:   c.workers,
		Progress:  p.at,
	})
	if err != nil {
		return err
	}
	if err := w.CopyFrom(src.Disk); err != nil {
		return c.copyError(target, err)
	}
	if err := src.checkUnchanged(); err != nil {
		return &readError{err}
	}
	return w.Close()
}

func isBlockDevice(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&(os.ModeDevice|os.ModeCharDevice) == os.ModeDevice
}
