// Package compress lets go/qcow2 write and read compressed clusters:
//
//	import _ "github.com/rules-qcow2/rules_qcow2/go/qcow2/compress"
//
// It is a separate package because the standard library can compress neither
// with zstd nor with the window that QEMU expects of zlib.
package compress

import (
	"bytes"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	_ "github.com/rules-qcow2/rules_qcow2/go/qcow2/zstd" // its decompressor
)

func init() {
	qcow2.RegisterCompressor(qcow2.CompressionZlib, deflate)
	qcow2.RegisterCompressor(qcow2.CompressionZstd, compressZstd)
}

// windowSize is the largest distance of a match in bytes. QEMU decompresses with
// a window of 12 bits (block/qcow2-threads.c, qcow2_zlib_decompress). QEMU 7.2
// reads longer distances as well, but zlib does not promise that.
const windowSize = 1 << 12

type deflater struct {
	out bytes.Buffer
	w   *flate.Writer
}

var deflaters = sync.Pool{New: func() any {
	d := &deflater{}
	var err error
	if d.w, err = flate.NewWriterWindow(&d.out, windowSize); err != nil {
		panic(err) // the window size is not allowed
	}
	return d
}}

// deflate is the Compressor for deflate.
func deflate(dst, src []byte) []byte {
	d := deflaters.Get().(*deflater)
	defer deflaters.Put(d)
	d.out.Reset()
	d.w.Reset(&d.out)
	d.w.Write(src) // a bytes.Buffer does not fail
	d.w.Close()
	return append(dst, d.out.Bytes()...)
}

// zstdEncoder compresses as many clusters at a time as there are processors.
// Its level is comparable to QEMU's.
var zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
	encoder, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedDefault),
		zstd.WithEncoderConcurrency(0),
		zstd.WithWindowSize(2<<20), // the largest cluster
		zstd.WithSingleSegment(true),
		zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // the options contradict each other
	}
	return encoder
})

// compressZstd is the Compressor for zstd.
func compressZstd(dst, src []byte) []byte { return zstdEncoder().EncodeAll(src, dst) }
