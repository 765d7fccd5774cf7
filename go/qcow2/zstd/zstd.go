// Package zstd lets go/qcow2 read clusters that are compressed with zstd:
//
//	import _ "github.com/rules-qcow2/rules_qcow2/go/qcow2/zstd"
//
// It is a separate package because the standard library does not have zstd, and
// most images do not need it.
package zstd

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

func init() {
	// One goroutine decompresses a cluster. As many as there are processors may
	// do so at the same time.
	decoder, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(0),
		zstd.WithDecoderMaxWindow(maxWindow), // see frameLength
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(err) // the options contradict each other
	}
	qcow2.RegisterDecompressor(qcow2.CompressionZstd, func(dst, src []byte) error {
		return decompress(decoder, dst, src)
	})
}

// decompress fills dst from the frames at the beginning of src: "iterate until
// we get a fully uncompressed cluster" (block/qcow2-threads.c,
// qcow2_zstd_decompress). Other data may follow the frames.
func decompress(decoder *zstd.Decoder, dst, src []byte) error {
	out := dst[:0]
	for len(out) < len(dst) {
		length, err := frameLength(src)
		if err == nil {
			out, err = decoder.DecodeAll(src[:length], out)
		}
		if err == nil && len(out) > len(dst) {
			err = errors.New("the data is longer than a cluster")
		}
		if err != nil {
			return fmt.Errorf("decompression with zstd failed after %d of %d bytes: %w", len(out), len(dst), err)
		}
		src = src[length:]
	}
	return nil
}

const (
	blockHeaderSize = 3
	blockRLE        = 1 // Block_Type of one byte that is repeated
	checksumSize    = 4

	// The limits of libzstd in bytes (lib/zstd.h, ZSTD_WINDOWLOG_MAX_64 with the
	// largest mantissa, and ZSTD_WINDOWLOG_LIMIT_DEFAULT).
	maxWindow       = 1<<31 + 7<<28
	maxStreamWindow = 1 << 27
)

var errShort = errors.New("the compressed data ends within a frame")

// frameLength returns the length in bytes of the frame at the beginning of b,
// without decompressing it (RFC 8878, section 3.1.1).
func frameLength(b []byte) (int, error) {
	var header zstd.Header
	rest, err := header.DecodeAndStrip(b)
	if err != nil {
		return 0, err
	}
	// QEMU uses libzstd with its defaults. ZSTD_decompressStream checks the size
	// of the window, unless the frame says how long its content is: then it
	// decompresses the frame in one pass, without a window.
	if !header.Skippable && (header.WindowSize > maxWindow || header.WindowSize > maxStreamWindow && !header.HasFCS) {
		return 0, fmt.Errorf("the window of a frame is %d bytes, QEMU allows %d", header.WindowSize, maxStreamWindow)
	}
	length := uint64(len(b) - len(rest))
	if header.Skippable {
		length += uint64(header.SkippableSize)
		if length > uint64(len(b)) {
			return 0, errShort
		}
		return int(length), nil
	}
	for last := false; !last; {
		if length+blockHeaderSize > uint64(len(b)) {
			return 0, errShort
		}
		block := uint32(b[length]) | uint32(b[length+1])<<8 | uint32(b[length+2])<<16
		last = block&1 != 0
		size := uint64(block >> 3)
		if block>>1&3 == blockRLE {
			size = 1
		}
		length += blockHeaderSize + size
	}
	if header.HasCheckSum {
		length += checksumSize
	}
	if length > uint64(len(b)) {
		return 0, errShort
	}
	return int(length), nil
}
