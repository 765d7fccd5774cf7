package qcow2_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// BenchmarkRead reads a disk of 256 MiB from the first byte to the last: from a
// chain of three layers, and from one with compressed clusters. qemu-img
// convert to a null device is the comparison.
func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	const size = 256 << 20
	benchmarkChain(b, dir, size)
	for _, method := range []string{"zlib", "zstd"} {
		qemuimg.Must(b, dir, "convert", "-c", "-O", "qcow2", "-o", "compression_type="+method, "chain.qcow2", method+".qcow2")
	}
	for _, name := range []string{"chain", "zlib", "zstd"} {
		path := filepath.Join(dir, name+".qcow2")
		b.Run(name+"/WriteTo", func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				d := openChain(b, path)
				if _, err := d.WriteTo(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/ReadAt", func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				d := openChain(b, path)
				if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.NewSectionReader(d, 0, d.Size()), make([]byte, 1<<20)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/qemu-img", func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				qemuimg.Must(b, dir, "convert", "-n", "--target-image-opts", path, fmt.Sprintf("driver=null-co,size=%d,read-zeroes=on", size))
			}
		})
	}
}

// benchmarkChain makes chain.qcow2 with two layers below, each of which has a
// part of the data.
func benchmarkChain(b *testing.B, dir string, size int) {
	b.Helper()
	r := rand.New(rand.NewPCG(1, 0))
	words := make([][]byte, 4096)
	for i := range words {
		words[i] = fmt.Appendf(nil, "%x ", r.Uint64()>>r.IntN(60))
	}
	var text bytes.Buffer
	for text.Len() < size {
		text.Write(words[int(r.ExpFloat64()*300)%len(words)])
	}
	writeFile(b, filepath.Join(dir, "base.raw"), text.Bytes()[:size])
	for _, layer := range []struct{ name, backing, format string }{{"middle.qcow2", "base.raw", "raw"}, {"chain.qcow2", "middle.qcow2", "qcow2"}} {
		qemuimg.Must(b, dir, "create", "-q", "-f", "qcow2", "-b", layer.backing, "-F", layer.format, layer.name)
		var commands []string
		for range 200 {
			// Parts of the base, at other places.
			commands = append(commands, fmt.Sprintf("write -q -s base.raw %d %d", r.IntN(size/65536-16)*65536, 65536*(1+r.IntN(16))))
		}
		if result := qemuimg.IO(b, dir, layer.name, commands...); result.Code != 0 {
			b.Fatal(result)
		}
	}
}

// BenchmarkMap maps a disk of 1 TiB of which every 16 MiB have one cluster.
func BenchmarkMap(b *testing.B) {
	dir := b.TempDir()
	path := filepath.Join(dir, "image.qcow2")
	qemuimg.Must(b, dir, "create", "-q", "-f", "qcow2", "image.qcow2", "1T")
	var commands []string
	for i := range 1 << 16 {
		commands = append(commands, fmt.Sprintf("write -q -z %dM 64k", i*16))
		if len(commands) == 1<<12 {
			if result := qemuimg.IO(b, dir, "image.qcow2", commands...); result.Code != 0 {
				b.Fatal(result)
			}
			commands = nil
		}
	}
	b.Run("Map", func(b *testing.B) {
		for b.Loop() {
			d := openChain(b, path)
			n := 0
			for _, err := range d.Map(0, d.Size()) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n != 1<<17 {
				b.Fatalf("map has %d extents, want %d", n, 1<<17)
			}
		}
	})
	b.Run("qemu-img", func(b *testing.B) {
		for b.Loop() {
			qemuimg.Must(b, dir, "map", "--output=json", "image.qcow2")
		}
	})
}

// BenchmarkReadAt reads 4 KiB at random places of an image of 1 GiB.
func BenchmarkReadAt(b *testing.B) {
	path := filepath.Join(b.TempDir(), "image.qcow2")
	mustGenerate(b, path, qcow2.GenerateWithFileSize(1<<30), qcow2.GenerateWithPreallocation(qcow2.PreallocationMetadata))
	d := openChain(b, path)
	r := rand.New(rand.NewPCG(1, 0))
	piece := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.ReadAt(piece, r.Int64N(1<<18)*4096); err != nil {
			b.Fatal(err)
		}
	}
}
