package zstd

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func newDecoder(t testing.TB) *zstd.Decoder {
	t.Helper()
	decoder, err := zstd.NewReader(nil, zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		t.Fatal(err)
	}
	return decoder
}

func encode(t testing.TB, b []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	encoder, err := zstd.NewWriter(nil, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return encoder.EncodeAll(b, nil)
}

// text returns n bytes that compress to several blocks; noise returns n bytes
// that do not compress.
func text(n int) []byte { return bytes.Repeat([]byte("cluster "), n/8+1)[:n] }

func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, 0))
	var b []byte
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:n]
}

// TestDecompress has every form of a compressed cluster, followed by other
// bytes.
func TestDecompress(t *testing.T) {
	const size = 2 << 20
	skippable := append([]byte{0x52, 0x2a, 0x4d, 0x18, 3, 0, 0, 0}, "abc"...)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, test := range []struct {
		name      string
		want, src []byte
	}{
		{"blocks", text(size), encode(t, text(size))},
		{"blocks that do not compress", noise(size), encode(t, noise(size))},
		{"a repeated byte", make([]byte, size), encode(t, make([]byte, size))},
		{"without checksum", text(size), encode(t, text(size), zstd.WithEncoderCRC(false))},
		{"one segment", text(512), encode(t, text(512), zstd.WithSingleSegment(true))},
		{"two frames", join(text(1000), noise(3096)), join(encode(t, text(1000)), encode(t, noise(3096)))},
		{"a frame without data", text(4096), join(encode(t, nil, zstd.WithZeroFrames(true)), encode(t, text(4096)))},
		{"a frame to skip", text(4096), join(skippable, encode(t, text(4096)))},
	} {
		t.Run(test.name, func(t *testing.T) {
			decoder := newDecoder(t)
			dst := make([]byte, len(test.want))
			if err := decompress(decoder, dst, append(bytes.Clone(test.src), noise(511)...)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(dst, test.want) {
				t.Error("wrong content")
			}
			if err := decompress(decoder, make([]byte, len(test.want)), test.src); err != nil {
				t.Errorf("without anything behind it: %v", err)
			}
			// A cluster that is too large for the data, and one that is too
			// small.
			if err := decompress(decoder, make([]byte, len(test.want)+1), test.src); err == nil {
				t.Error("a cluster that is larger than the data is accepted")
			}
			if err := decompress(decoder, make([]byte, len(test.want)-1, len(test.want)+100), test.src); err == nil {
				t.Error("a cluster that is smaller than the data is accepted")
			}
			for _, n := range []int{0, 1, 3, 5, 9, len(test.src) / 2, len(test.src) - 1} {
				if err := decompress(decoder, dst, test.src[:min(n, len(test.src)-1)]); err == nil {
					t.Errorf("the first %d of %d bytes are accepted", n, len(test.src))
				}
			}
		})
	}
}

func FuzzDecompress(f *testing.F) {
	f.Add(encode(f, text(4096)))
	f.Add(encode(f, noise(4096)))
	f.Add(encode(f, make([]byte, 4096)))
	decoder := newDecoder(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		for _, capacity := range []int{4096, 4100, 8192} {
			dst := bytes.Repeat([]byte{0xaa}, 8292)
			decompress(decoder, dst[:4096:capacity], src)
			if !bytes.Equal(dst[capacity:], bytes.Repeat([]byte{0xaa}, len(dst)-capacity)) {
				t.Errorf("more than %d bytes are written", capacity)
			}
		}
	})
}
