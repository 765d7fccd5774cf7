package compress

import (
	"bytes"
	"compress/flate"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// repeated returns a cluster of noise that repeats after distance bytes.
func repeated(distance int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(distance)))
	b := make([]byte, 64<<10)
	for i := range b {
		if b[i] = byte(r.Uint32()); i >= distance {
			b[i] = b[i-distance]
		}
	}
	return b
}

// TestWindow checks that zlib never refers to data that is further back than
// QEMU's window, and that it finds what is in the window.
func TestWindow(t *testing.T) {
	for distance, small := range map[int]bool{100: true, 4000: true, 4200: false, 8000: false, 30000: false} {
		src := repeated(distance)
		if packed := deflate(nil, src); (len(packed) < len(src)/2) != small {
			t.Errorf("noise that repeats after %d bytes: %d of %d bytes", distance, len(packed), len(src))
		}
	}
}

// TestSameBytes checks that what was compressed before does not matter, and that
// other decoders read the result.
func TestSameBytes(t *testing.T) {
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	distances := []int{1, 7, 100, 4000, 10000, 50000}
	first := map[int][2][]byte{}
	for range 3 {
		for _, i := range rand.Perm(len(distances)) {
			distance := distances[i]
			src := repeated(distance)
			packed := [2][]byte{deflate([]byte("x"), src)[1:], compressZstd([]byte("x"), src)[1:]}
			got, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed[0])))
			if err != nil || !bytes.Equal(got, src) {
				t.Errorf("zlib, distance %d: %v", distance, err)
			}
			if got, err := decoder.DecodeAll(packed[1], nil); err != nil || !bytes.Equal(got, src) {
				t.Errorf("zstd, distance %d: %v", distance, err)
			}
			before, ok := first[distance]
			if ok && !(bytes.Equal(before[0], packed[0]) && bytes.Equal(before[1], packed[1])) {
				t.Errorf("distance %d: other bytes than before", distance)
			}
			first[distance] = packed
		}
	}
}
