package qcow2_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// zstdFrame returns a frame of length bytes 7 (RFC 8878, section 3.1.1). window is
// the byte Window_Descriptor. withLength adds the length of the content to the
// header.
func zstdFrame(window byte, withLength bool, length int) []byte {
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, window}
	if withLength {
		frame[4] = 2 << 6 // a length of 4 bytes
		frame = binary.LittleEndian.AppendUint32(frame, uint32(length))
	}
	const last, repeated = 1, 1 << 1
	block := length<<3 | repeated | last
	return append(frame, byte(block), byte(block>>8), byte(block>>16), 7)
}

// TestReadZstdWindow reads clusters whose frames have windows around the limits
// of libzstd.
func TestReadZstdWindow(t *testing.T) {
	window := func(log, mantissa int) byte { return byte((log-10)<<3 | mantissa) }
	reads := map[bool]int{}
	for _, test := range []struct{ log, mantissa int }{{17, 0}, {26, 7}, {27, 0}, {27, 1}, {28, 0}, {31, 0}, {31, 7}, {32, 0}, {41, 7}} {
		for _, withLength := range []bool{false, true} {
			for _, frames := range []int{1, 2} {
				t.Run(fmt.Sprintf("%d,%d,%t,%d", test.log, test.mantissa, withLength, frames), func(t *testing.T) {
					path := filepath.Join(t.TempDir(), "image.qcow2")
					craft(t, path, []uint64{1<<62 | dataOffset}, qcow2.GenerateWithCompressionType(qcow2.CompressionZstd))
					frame := zstdFrame(window(test.log, test.mantissa), withLength, cluster/frames)
					overwrite(t, path, dataOffset, bytes.Repeat(frame, frames))
					theirs := qemuimg.Run(t, "", "convert", "-f", "qcow2", "-O", "raw", path, path+".raw")
					d := openChain(t, path)
					got := make([]byte, d.Size())
					_, err := d.ReadAt(got, 0)
					if (err == nil) != (theirs.Code == 0) {
						t.Fatalf("error is %v; qemu-img convert exits with %d: %s", err, theirs.Code, theirs.Stderr)
					}
					if err == nil {
						compareContent(t, d, readFile(t, path+".raw"))
					}
					reads[err == nil]++
				})
			}
		}
	}
	if reads[true] == 0 || reads[false] == 0 {
		t.Errorf("read without and with errors: %v", reads)
	}
}
