package qcow2

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// standardInflate is inflate by the standard library.
func standardInflate(dst, src []byte) error {
	_, err := io.ReadFull(flate.NewReader(bytes.NewReader(src)), dst)
	return err
}

// compareInflate compares inflate with the standard library, which differs twice. It
// sometimes reads more bits than it needs: what inflate accepts may only be followed by
// other data. And it accepts a block without a code for its end, which zlib and thus
// QEMU refuse: TestReadBadTables compares that with qemu-img.
func compareInflate(t *testing.T, src []byte, length int) {
	t.Helper()
	got, want := make([]byte, length), make([]byte, length)
	err, wantErr := inflate(got, src), standardInflate(want, src)
	if err == nil && wantErr != nil {
		wantErr = standardInflate(want, append(bytes.Clone(src), bytes.Repeat([]byte{0xff}, 8)...))
	}
	if errors.Is(err, errInflateEndless) {
		return
	}
	if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want) {
		t.Fatalf("%d bytes from %x: %v, want %v", length, src[:min(len(src), 100)], err, wantErr)
	}
}

// inflateSamples returns data of several kinds, compressed at several levels.
func inflateSamples() (samples [][]byte, lengths []int) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, length := range []int{0, 1, 5, 512, 4096, 65536, 200_000} {
		for kind := range 6 {
			data := make([]byte, length)
			for i := range data {
				switch kind {
				case 1:
					data[i] = byte(r.Uint32())
				case 2:
					data[i] = "some words of a text "[r.IntN(21)]
				case 3:
					data[i] = byte(min(r.ExpFloat64()*10, 255)) // long codes
				case 4:
					data[i] = byte(i / 3)
				case 5:
					if data[i] = byte(r.Uint32()); i > 100 && r.IntN(50) > 0 {
						data[i] = data[i-1-r.IntN(100)]
					}
				}
			}
			for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, 1, 6, 9} {
				var b bytes.Buffer
				w, err := flate.NewWriter(&b, level)
				if err != nil {
					panic(err) // the level is not valid
				}
				w.Write(data)
				w.Close()
				samples, lengths = append(samples, b.Bytes()), append(lengths, length)
			}
		}
	}
	return samples, lengths
}

func TestInflate(t *testing.T) {
	samples, lengths := inflateSamples()
	r := rand.New(rand.NewPCG(3, 4))
	for i, src := range samples {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			compareInflate(t, src, lengths[i])
			compareInflate(t, append(bytes.Clone(src), "other data"...), lengths[i])
			compareInflate(t, src, lengths[i]/2)
			compareInflate(t, src, lengths[i]+1)
			for range 20 {
				compareInflate(t, src[:r.IntN(len(src)+1)], lengths[i])
				damaged := bytes.Clone(src)
				damaged[r.IntN(min(len(src), 300))] ^= 1 << r.IntN(8)
				compareInflate(t, damaged, lengths[i])
			}
		})
	}
}

func FuzzInflate(f *testing.F) {
	samples, lengths := inflateSamples()
	for i, src := range samples {
		if len(src) < 5000 {
			f.Add(src, uint16(lengths[i]))
		}
	}
	// A block without a code for its end.
	f.Add([]byte("\x05\xc0\x81\x00\x00\x00\x00\x00\x10\xfe\xaf\x01"+strings.Repeat("\x00", 64)), uint16(512))
	f.Fuzz(func(t *testing.T, src []byte, length uint16) {
		compareInflate(t, src, int(length))
	})
}

func BenchmarkInflate(b *testing.B) {
	samples, lengths := inflateSamples()
	for name, f := range map[string]Decompressor{"ours": inflate, "standard": standardInflate} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				for i, src := range samples {
					if lengths[i] == 65536 {
						b.SetBytes(int64(lengths[i]))
						if err := f(make([]byte, lengths[i]), src); err != nil {
							b.Fatal(err)
						}
					}
				}
			}
		})
	}
}
