package qcow2

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"sync"
)

// An inflater decompresses clusters that are compressed with deflate (RFC 1951).
type inflater struct {
	src  bytes.Reader
	data io.ReadCloser // of package flate; it is also a flate.Resetter
}

var inflaters = sync.Pool{New: func() any {
	d := new(inflater)
	d.data = flate.NewReader(&d.src)
	return d
}}

// inflate is the Decompressor for deflate.
func inflate(dst, src []byte) error {
	d := inflaters.Get().(*inflater)
	defer inflaters.Put(d)
	d.src.Reset(src)
	defer d.src.Reset(nil)
	d.data.(flate.Resetter).Reset(&d.src, nil) // never fails
	if n, err := io.ReadFull(d.data, dst); err != nil {
		return fmt.Errorf("decompression with zlib failed after %d of %d bytes: %w", n, len(dst), err)
	}
	return nil
}
