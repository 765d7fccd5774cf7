package vm

import (
	"bytes"
	"errors"
	"os"
	"syscall"
)

// Values of whence that find data and holes, of Linux.
const (
	seekData = 3
	seekHole = 4
)

// pageSize is the unit in which sparseCopy looks for zeros.
const pageSize = 4 << 10

// sparseCopy copies a file to another, which may exist but must be empty. Pages of
// zeros become holes.
func sparseCopy(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o666)
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
		if err := copyPages(out, in, start, end); err != nil {
			return err
		}
	}
	return nil
}

// copyPages copies a range but for its pages of zeros.
func copyPages(out, in *os.File, start, end int64) error {
	buffer := make([]byte, 256*pageSize)
	zeros := make([]byte, pageSize)
	for start < end {
		n, err := in.ReadAt(buffer[:min(int64(len(buffer)), end-start)], start)
		if n == 0 && err != nil {
			return err
		}
		for data := buffer[:n]; len(data) > 0; {
			run, zero := 0, false
			for run < len(data) {
				page := data[run:min(run+pageSize, len(data))]
				isZero := bytes.Equal(page, zeros[:len(page)])
				if run > 0 && isZero != zero {
					break
				}
				run, zero = run+len(page), isZero
			}
			if !zero {
				if _, err := out.WriteAt(data[:run], start); err != nil {
					return err
				}
			}
			data, start = data[run:], start+int64(run)
		}
	}
	return nil
}
