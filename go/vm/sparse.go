package vm

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// Values of whence that find data and holes, of Linux.
const (
	seekData = 3
	seekHole = 4
)

// sparseCopy copies a file to another, which may exist but must be empty. Holes
// stay holes.
func sparseCopy(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(copyData(out, in), out.Close())
}

func copyData(out, in *os.File) error {
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := out.Truncate(info.Size()); err != nil {
		return err
	}
	for end := int64(0); end < info.Size(); {
		start, err := in.Seek(end, seekData)
		if errors.Is(err, syscall.ENXIO) {
			return nil // a hole up to the end
		}
		if err != nil { // a file system without holes
			start, end = end, info.Size()
		} else if end, err = in.Seek(start, seekHole); err != nil {
			return err
		}
		if _, err := io.Copy(io.NewOffsetWriter(out, start), io.NewSectionReader(in, start, end-start)); err != nil {
			return err
		}
	}
	return nil
}
