package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// convert copies the source to the target.
func (c *convertArgs) convert(stdin io.Reader, stdout io.Writer) error {
	src, err := c.openSource(stdin)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := c.setSize(src); err != nil {
		return fmt.Errorf("%s: %w", c.target.file, err)
	}
	p := newProgress(stdout, c.progress && !c.target.quiet, c.target.size)
	if isBlockDevice(c.target.path) && c.format != qcow2.FormatRaw && !c.noCreate {
		return fmt.Errorf("%s: it is a block device, to which only -O raw can be written; for a qcow2 image that is there already, add -n", c.target.file)
	}
	if c.noCreate || isBlockDevice(c.target.path) {
		err = c.writeExisting(src, p)
	} else {
		err = c.writeNew(src, p)
	}
	p.end(err == nil)
	var read *readError
	var compressor *qcow2.NoCompressorError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &read):
		return errors.New(programReason(err)) // it names the file
	case errors.As(err, &compressor):
		return fmt.Errorf("%s: this program cannot compress with %s; use @rules_qcow2//tools/qcow2gen:qcow2convert, which can", c.target.file, compressor.Type)
	}
	return fmt.Errorf("%s: %s", c.target.file, reason(err)) // not the temporary name
}

// setSize sets the virtual size of the target. Unlike qemu-img, which ignores it,
// convert uses a size in -o if it is not smaller than the source.
func (c *convertArgs) setSize(src *source) error {
	t, size := &c.target, uint64(src.Size())
	if t.sizeSet && roundUp(t.size, sectorSize) < size {
		return fmt.Errorf("size is %d bytes, less than the virtual size of %s, which is %d; use at least that, or omit the size to use exactly that", t.size, src.name, size)
	}
	if !t.sizeSet {
		t.size, t.sizeSet = size, true
	}
	t.values["size"] = formatValue{number: t.size}
	return nil
}

// writeNew writes a new target, which appears when it is complete.
func (c *convertArgs) writeNew(src *source, p *progress) error {
	backing, inputs, err := c.openBacking()
	if err != nil {
		return err
	}
	if backing != nil {
		defer backing.Close()
	}
	if err := c.checkTarget(src); err != nil {
		return err
	}
	if err := c.target.checkOverwrite(append(inputs, src.inputs()...)); err != nil {
		return err
	}
	out := &outputs{}
	defer out.discard()
	f, err := out.create(c.target.path)
	if err != nil {
		return err
	}
	target := &targetFile{File: f, progress: p}
	if c.format == qcow2.FormatRaw {
		err = c.writeRaw(target, src)
	} else {
		err = c.writeQCOW2(target, src, backing, p)
	}
	if err != nil {
		return err
	}
	if err := src.checkUnchanged(); err != nil {
		return &readError{err}
	}
	if c.sync {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if c.target.infoOutput != "" {
		if err := c.target.writeInfo(out, c.format); err != nil {
			return fmt.Errorf("--info-output %s: %s", c.target.infoOutput, reason(err))
		}
	}
	return out.commit()
}

// openBacking opens the backing file of the target, or returns nil. It returns the
// files that must not be overwritten.
func (c *convertArgs) openBacking() (*qcow2.Disk, []string, error) {
	if !c.target.values.has("backing_file") {
		return nil, nil, nil
	}
	inputs, err := c.target.completeFromBackingFile()
	if err != nil {
		return nil, nil, err
	}
	disk, err := qcow2.OpenChain(c.target.openedBackingFile(), qcow2.OpenWithFormat(c.target.values["backing_fmt"].text))
	if err != nil {
		return nil, nil, fmt.Errorf("backing file cannot be used: %s", layerReason(err))
	}
	for _, layer := range disk.Layers() {
		inputs = append(inputs, layer.Path)
	}
	return disk, inputs, nil
}

// writeRaw writes a raw image to an empty file.
func (c *convertArgs) writeRaw(target *targetFile, src *source) error {
	var w io.Writer = target
	if c.keepZeros {
		w = plainWriter{target}
	}
	if _, err := src.WriteTo(w); err != nil {
		return c.copyError(target, err)
	}
	if size := int64(roundUp(c.target.size, sectorSize)); size > src.Size() {
		return target.Truncate(size)
	}
	return nil
}

// writeQCOW2 writes a qcow2 image to an empty file.
func (c *convertArgs) writeQCOW2(target *targetFile, src *source, backing *qcow2.Disk, p *progress) error {
	opts, err := c.target.values.generateOptions()
	if err != nil {
		return err
	}
	w, err := qcow2.NewWriter(target, qcow2.WriterOptions{
		Compress:  c.compress,
		Backing:   backing,
		KeepZeros: c.keepZeros,
		Workers:   c.workers,
		Progress:  p.at,
	}, opts...)
	if err != nil {
		return err
	}
	if err := w.CopyFrom(src.Disk); err != nil {
		return c.copyError(target, err)
	}
	return w.Close()
}

// A readError is an error of a file that convert reads. It names the file.
type readError struct{ error }

func (e *readError) Unwrap() error { return e.error }

// copyError returns the error of the target or, as a readError, that of a file that
// was read.
func (c *convertArgs) copyError(target *targetFile, err error) error {
	if target.failure != nil {
		return target.failure
	}
	return &readError{err}
}

// programReason is layerReason, and says which program has a decompressor that is
// missing.
func programReason(err error) string {
	var decompressor *qcow2.NoDecompressorError
	if errors.As(err, &decompressor) && decompressor.Type == qcow2.CompressionZstd {
		return layerReason(err) + "; use @rules_qcow2//tools/qcow2gen:qcow2convert, which has one"
	}
	return layerReason(err)
}
