package qcow2_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	_ "github.com/rules-qcow2/rules_qcow2/go/qcow2/compress"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuscript"
)

// A randomWriter has the options of a random image, and what was written to it.
type randomWriter struct {
	*rand.Rand
	dir         string
	clusterSize int
	backing     []byte // nil without a backing file
	options     qcow2.WriterOptions
	generate    []*qcow2.GenerateOption
	want        []byte // contents of the disk
}

func newRandomWriter(t *testing.T, seed uint64) *randomWriter {
	r := &randomWriter{Rand: rand.New(rand.NewPCG(seed, 7)), dir: t.TempDir()}
	pick := func(values ...int) int { return values[r.IntN(len(values))] }
	r.clusterSize = 512 << pick(0, 0, 1, 3, 5, 6, 7, 7, 8, 12)
	size := r.IntN(min(400*r.clusterSize, 8<<20))/512*512 + pick(0, 512, 512)
	bits, version, extended := 16, 3, false
	method := []qcow2.CompressionType{qcow2.CompressionZlib, qcow2.CompressionZstd}[r.IntN(2)]
	if r.IntN(4) == 0 {
		version, method = 2, qcow2.CompressionZlib
	} else {
		bits = 1 << pick(0, 1, 2, 3, 4, 4, 4, 5, 6)
		extended = r.clusterSize >= 16384 && r.IntN(2) == 0
	}
	r.options.Compress = r.IntN(2) == 0
	r.options.KeepZeros = r.IntN(6) == 0
	r.generate = []*qcow2.GenerateOption{
		qcow2.GenerateWithFileSize(uint64(size)),
		qcow2.GenerateWithClusterSize(uint64(r.clusterSize)),
		qcow2.GenerateWithVersion(version),
		qcow2.GenerateWithRefcountBits(bits),
		qcow2.GenerateWithExtendedL2(extended),
		qcow2.GenerateWithCompressionType(method),
	}
	r.want = make([]byte, size)
	description := fmt.Sprintf("size %d, clusters %d, v%d, %d bits, extended %t, %+v %s", size, r.clusterSize, version, bits, extended, r.options, method)
	if r.IntN(3) == 0 {
		r.backing = r.data(r.IntN(size + size/4 + 1))
		writeFile(t, filepath.Join(r.dir, "base.raw"), r.backing)
		r.options.Backing = openChain(t, filepath.Join(r.dir, "base.raw"), qcow2.OpenWithFormat(qcow2.FormatRaw))
		r.generate = append(r.generate, qcow2.GenerateWithBackingFile("base.raw"), qcow2.GenerateWithBackingFormat(qcow2.FormatRaw))
		copy(r.want, r.backing)
		description += fmt.Sprintf(", backing %d", len(r.backing))
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(description)
		}
	})
	return r
}

// data returns n bytes: zeros, noise, text, or parts of each.
func (r *randomWriter) data(n int) []byte {
	b := make([]byte, n)
	for at := 0; at < n; {
		part := b[at : at+1+r.IntN(n-at)]
		switch r.IntN(5) {
		case 0:
			for i := range part {
				part[i] = byte(r.Uint32())
			}
		case 1, 2:
			copy(part, bytes.Repeat(fmt.Appendf(nil, "some text that is %d times there\n", r.IntN(1000)), len(part)/33+1))
		case 3: // matches at a distance that is longer than the window of zlib
			for i := range part {
				if part[i] = byte(r.Uint32()); i >= 6000 {
					part[i] = part[i-6000]
				}
			}
		}
		at += len(part)
	}
	return b
}

// write writes random data in random places, the same for each writer.
func (r *randomWriter) write(t *testing.T, writers ...*qcow2.Writer) {
	t.Helper()
	last, next := 0, 0
	for range r.IntN(60) {
		if len(r.want) == 0 {
			return
		}
		off := next
		if off == len(r.want) || r.IntN(3) == 0 {
			off = r.IntN(len(r.want))
		}
		if r.IntN(4) == 0 {
			off = last
		}
		if r.IntN(3) == 0 {
			off -= off % r.clusterSize
		}
		n := r.IntN(6 * r.clusterSize)
		switch r.IntN(6) {
		case 0, 1:
			n = r.IntN(5000)
		case 2:
			n = r.clusterSize
		case 3:
			n -= n % r.clusterSize
		}
		b := r.data(min(n, len(r.want)-off))
		copy(r.want[off:], b)
		last, next = off, off+len(b)
		for _, w := range writers {
			if _, err := w.WriteAt(b, int64(off)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// create returns a Writer for a new image with that name.
func (r *randomWriter) create(t *testing.T, name string, workers int) *qcow2.Writer {
	t.Helper()
	f, err := os.Create(filepath.Join(r.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	options := r.options
	options.Workers = workers
	w, err := qcow2.NewWriter(f, options, r.generate...)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// judge lets QEMU check the image and compares its contents.
func (r *randomWriter) judge(t *testing.T, name string) {
	t.Helper()
	if check := qemuimg.Run(t, r.dir, "check", "-f", "qcow2", name); check.Code != 0 {
		t.Errorf("qemu-img check: %s%s", check.Stdout, check.Stderr)
	}
	qemuimg.Must(t, r.dir, "convert", "-f", "qcow2", "-O", "raw", name, "content.raw")
	if got := readFile(t, r.dir, "content.raw"); !bytes.Equal(got, r.want) {
		t.Errorf("QEMU reads %d bytes, %d were written; they differ at byte %d", len(got), len(r.want), firstDifference(got, r.want))
	}
	if result, err := checkFile(t, filepath.Join(r.dir, name)); err != nil || len(result.Problems) > 0 {
		t.Errorf("Check: %v %v", result, err)
	}
	d := openChain(t, filepath.Join(r.dir, name))
	compareContent(t, d, r.want)
	compareMap(t, d, r.dir, qemuscript.Layer{Name: name, Format: qcow2.FormatQCOW2})
}

// TestWriterRandom writes random data in random order. QEMU reads it, and the
// bytes do not depend on the number of workers.
func TestWriterRandom(t *testing.T) {
	qemuscript.Seeds(t, 60, func(t *testing.T, seed uint64) {
		r := newRandomWriter(t, seed)
		one, many := r.create(t, "one.qcow2", 1), r.create(t, "many.qcow2", 5)
		r.write(t, one, many)
		for _, w := range []*qcow2.Writer{one, many} {
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		r.judge(t, "one.qcow2")
		if a, b := readFile(t, r.dir, "one.qcow2"), readFile(t, r.dir, "many.qcow2"); !bytes.Equal(a, b) {
			t.Errorf("5 workers write another image than 1: they differ at byte %d", firstDifference(a, b))
		}
	})
}

// TestWriterCopyFrom copies random disks, onto nothing and as the difference
// from a backing file.
func TestWriterCopyFrom(t *testing.T) {
	qemuscript.Seeds(t, 40, func(t *testing.T, seed uint64) {
		r := newRandomWriter(t, seed)
		source := append([]byte(nil), r.want...)
		for range r.IntN(5) {
			if at := r.IntN(len(source) + 1); at < len(source) {
				copy(source[at:], r.data(1+r.IntN(3*r.clusterSize)))
			}
		}
		if r.IntN(4) == 0 {
			source = source[:r.IntN(len(source)+1)]
		}
		writeFile(t, filepath.Join(r.dir, "source.raw"), source)
		clear(r.want)
		copy(r.want, source)
		for i, workers := range []int{1, 5} {
			w := r.create(t, fmt.Sprint(i), workers)
			src := openChain(t, filepath.Join(r.dir, "source.raw"), qcow2.OpenWithFormat(qcow2.FormatRaw))
			if err := w.CopyFrom(src); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		r.judge(t, "0")
		if a, b := readFile(t, r.dir, "0"), readFile(t, r.dir, "1"); !bytes.Equal(a, b) {
			t.Errorf("5 workers write another image than 1: they differ at byte %d", firstDifference(a, b))
		}
	})
}

// memory is a WriterFile in memory. It fails after some bytes if room is set.
type memory struct {
	data []byte
	room int64
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m.data).ReadAt(p, off)
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if m.room > 0 && off+int64(len(p)) > m.room {
		return 0, io.ErrShortWrite
	}
	if missing := off + int64(len(p)) - int64(len(m.data)); missing > 0 {
		m.data = append(m.data, make([]byte, missing)...)
	}
	return copy(m.data[off:], p), nil
}
