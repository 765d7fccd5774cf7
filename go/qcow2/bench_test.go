package qcow2_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

func BenchmarkGenerate(b *testing.B) {
	for _, bench := range []struct {
		name string
		opts options
	}{
		{"20GiB", options{qcow2.GenerateWithFileSize(20 << 30)}},
		{"1PiB", options{qcow2.GenerateWithFileSize(1 << 50)}},
		{"overlay", options{qcow2.GenerateWithFileSize(20 << 30), qcow2.GenerateWithBackingFile("base.raw"), raw,
			qcow2.GenerateWithClusterSize(128 << 10), qcow2.GenerateWithExtendedL2(true)}},
		{"preallocated20GiB", options{qcow2.GenerateWithFileSize(20 << 30), qcow2.GenerateWithPreallocation(qcow2.PreallocationMetadata)}},
	} {
		b.Run(bench.name+"/file", func(b *testing.B) {
			b.ReportAllocs()
			path := filepath.Join(b.TempDir(), "image.qcow2")
			for b.Loop() {
				mustGenerate(b, path, bench.opts...)
			}
			info, err := os.Stat(path)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(info.Size()), "bytes/image")
		})
	}
	b.Run("20GiB/stream", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := qcow2.Generate(io.Discard, qcow2.GenerateWithFileSize(20<<30)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkInspect(b *testing.B) {
	b.ReportAllocs()
	var image bytes.Buffer
	if err := qcow2.Generate(&image, qcow2.GenerateWithFileSize(20<<30), qcow2.GenerateWithBackingFile("base.raw"), raw); err != nil {
		b.Fatal(err)
	}
	r := bytes.NewReader(image.Bytes())
	for b.Loop() {
		if _, err := qcow2.Inspect(r, r.Size()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCheck checks an image of 16 GiB with all its metadata; bench/library
// compares with qemu-img.
func BenchmarkCheck(b *testing.B) {
	b.ReportAllocs()
	path := filepath.Join(b.TempDir(), "image.qcow2")
	mustGenerate(b, path, qcow2.GenerateWithFileSize(16<<30), qcow2.GenerateWithPreallocation(qcow2.PreallocationMetadata))
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if result, err := qcow2.Check(f, info.Size()); err != nil || verdict(result, nil) != 0 {
			b.Fatal(result, err)
		}
	}
}
