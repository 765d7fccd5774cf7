package qcow2_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuscript"
)

// TestWriterMovesRefcountTable fills an image that needs a refcount table of
// several clusters.
func TestWriterMovesRefcountTable(t *testing.T) {
	r := &randomWriter{Rand: rand.New(rand.NewPCG(1, 1)), dir: t.TempDir(), clusterSize: 512}
	r.want = bytes.Repeat([]byte("data"), 9<<18)
	r.generate = []*qcow2.GenerateOption{
		qcow2.GenerateWithFileSize(uint64(len(r.want))),
		qcow2.GenerateWithClusterSize(512),
		qcow2.GenerateWithRefcountBits(64),
	}
	w := r.create(t, "disk.qcow2", 2)
	if _, err := w.WriteAt(r.want, 0); err != nil {
		t.Fatal(err)
	}
	r.write(t, w)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r.judge(t, "disk.qcow2")
}

// TestWriterManyTables writes to more L2 tables than stay in memory, several
// times to each.
func TestWriterManyTables(t *testing.T) {
	r := &randomWriter{Rand: rand.New(rand.NewPCG(1, 1)), dir: t.TempDir()}
	const size = 12 << 40
	r.generate = []*qcow2.GenerateOption{
		qcow2.GenerateWithFileSize(size),
		qcow2.GenerateWithClusterSize(qcow2.MaxClusterSize),
		qcow2.GenerateWithExtendedL2(true),
	}
	w := r.create(t, "disk.qcow2", 2)
	want := map[int64][]byte{}
	for range 100 {
		off := int64(r.IntN(20))*size/20 + int64(r.IntN(8))*70000
		want[off] = fmt.Appendf(nil, "data at offset %d, %d", off, r.Uint32())
		if _, err := w.WriteAt(want[off], off); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	qemuimg.Must(t, r.dir, "check", "disk.qcow2")
	d := openChain(t, filepath.Join(r.dir, "disk.qcow2"))
	for off, data := range want {
		got := make([]byte, len(data))
		if _, err := d.ReadAt(got, off); err != nil || !bytes.Equal(got, data) {
			t.Errorf("offset %d: %q, %v; want %q", off, got, err, data)
		}
	}
	compareMap(t, d, r.dir, qemuscript.Layer{Name: "disk.qcow2", Format: qcow2.FormatQCOW2})
}

// TestWriterSmallestDisks writes disks of 0 bytes and of one sector, and disks
// that nothing is written to.
func TestWriterSmallestDisks(t *testing.T) {
	for _, size := range []uint64{0, 1, 512, 1 << 42} {
		r := &randomWriter{dir: t.TempDir(), generate: []*qcow2.GenerateOption{qcow2.GenerateWithFileSize(size)}}
		w := r.create(t, "disk.qcow2", 1)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		qemuimg.Must(t, r.dir, "check", "disk.qcow2")
		if want := int64(size+511) / 512 * 512; w.Size() != want {
			t.Errorf("size is %d, want %d", w.Size(), want)
		}
		qemuimg.Must(t, r.dir, "create", "-q", "-f", "qcow2", "empty.qcow2", fmt.Sprint(size))
		qemuimg.Must(t, r.dir, "compare", "-s", "disk.qcow2", "empty.qcow2")
	}
}

// TestWriterErrors names what is wrong.
func TestWriterErrors(t *testing.T) {
	size := qcow2.GenerateWithFileSize(1 << 20)
	backing := []*qcow2.GenerateOption{size, qcow2.GenerateWithBackingFile("b"), qcow2.GenerateWithBackingFormat("raw")}
	for _, c := range []struct {
		options  qcow2.WriterOptions
		generate []*qcow2.GenerateOption
		want     string
	}{
		{want: "neither size nor backing file"},
		{generate: []*qcow2.GenerateOption{size, qcow2.GenerateWithDataFile("d")}, want: "external data file"},
		{generate: []*qcow2.GenerateOption{size, qcow2.GenerateWithPreallocation(qcow2.PreallocationMetadata)}, want: "preallocate"},
		{options: qcow2.WriterOptions{Workers: -1}, generate: []*qcow2.GenerateOption{size}, want: "-1 workers"},
		{options: qcow2.WriterOptions{Backing: &qcow2.Disk{}}, generate: []*qcow2.GenerateOption{size}, want: "no backing file"},
	} {
		if _, err := qcow2.NewWriter(&memory{}, c.options, c.generate...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want an error with %q, got %v", c.want, err)
		}
	}
	w, err := qcow2.NewWriter(&memory{}, qcow2.WriterOptions{}, backing...)
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{-1, 1 << 20, 1<<20 - 1} {
		if n, err := w.WriteAt([]byte("ab"), off); err == nil || n != 0 {
			t.Errorf("write at %d: %d, %v; want an error", off, n, err)
		}
	}
	if _, err := w.WriteAt([]byte("ab"), 0); err == nil || !strings.Contains(err.Error(), "WriterOptions.Backing") {
		t.Errorf("part of a cluster without Backing: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err == nil {
		t.Error("second Close succeeds")
	}
	if _, err := w.WriteAt(make([]byte, 1<<16), 0); err == nil {
		t.Error("WriteAt succeeds after Close")
	}
}

// TestWriterFullDisk fails at each place of a file that takes no more bytes. A
// later call returns the error, and the file is not an image.
func TestWriterFullDisk(t *testing.T) {
	data := bytes.Repeat([]byte("some data\n"), 40000)
	for room := int64(1); room < 420000; room += 10007 {
		f := &memory{room: room}
		w, err := qcow2.NewWriter(f, qcow2.WriterOptions{Workers: 3}, qcow2.GenerateWithFileSize(1<<20), qcow2.GenerateWithClusterSize(4096))
		if err != nil {
			t.Fatal(err)
		}
		_, writeErr := w.WriteAt(data, 0)
		if err := w.Close(); err == nil {
			t.Errorf("room for %d bytes: no error, WriteAt %v", room, writeErr)
		}
		if len(f.data) > 3 && string(f.data[:3]) == "QFI" {
			t.Errorf("room for %d bytes: the file has a header", room)
		}
	}
}

// TestWriterSourceChanges copies a file that becomes shorter.
func TestWriterSourceChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "source.raw")
	writeFile(t, path, bytes.Repeat([]byte("data"), 1<<20))
	src := openChain(t, path)
	if err := os.Truncate(path, 1<<20); err != nil {
		t.Fatal(err)
	}
	f := &memory{}
	w, err := qcow2.NewWriter(f, qcow2.WriterOptions{}, qcow2.GenerateWithFileSize(4<<20))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.CopyFrom(src); err == nil || !strings.Contains(err.Error(), "now ends at") {
		t.Errorf("want an error that names the end of the file, got %v", err)
	}
	if w.Close() == nil {
		t.Error("Close succeeds")
	}
}

// FuzzWriter writes at places and with lengths that the input names, and
// compares the reader's contents and Check.
func FuzzWriter(f *testing.F) {
	f.Add([]byte{0, 3, 10, 200, 7, 1, 9, 3, 255, 255, 4, 3, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	f.Add([]byte{7, 90, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) < 2 {
			return
		}
		flags, shape := script[0], script[1]
		clusterSize := 512 << (shape % 8)
		want := make([]byte, 512*(1+int(shape)*2))
		extended := flags&8 != 0 && clusterSize >= 16384
		method := []qcow2.CompressionType{qcow2.CompressionZlib, qcow2.CompressionZstd}[flags&1]
		file := &memory{}
		w, err := qcow2.NewWriter(file, qcow2.WriterOptions{Compress: flags&2 != 0, KeepZeros: flags&4 != 0, Workers: 1 + int(flags>>6)},
			qcow2.GenerateWithFileSize(uint64(len(want))), qcow2.GenerateWithClusterSize(uint64(clusterSize)), qcow2.GenerateWithExtendedL2(extended),
			qcow2.GenerateWithCompressionType(method), qcow2.GenerateWithRefcountBits(1<<(flags>>4&3)))
		if err != nil {
			t.Fatal(err)
		}
		for script = script[2:]; len(script) >= 6; script = script[6:] {
			off := (int(script[0])<<16 | int(script[1])<<8 | int(script[2])) % len(want)
			b := want[off:min(len(want), off+int(script[3])<<8|int(script[4]))]
			if len(b) == 0 {
				continue
			}
			for i := range b {
				b[i] = script[5] * byte(1+i>>(script[5]&15))
			}
			if _, err := w.WriteAt(b, int64(off)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		size := int64(len(file.data))
		if result, err := qcow2.Check(file, size); err != nil || len(result.Problems) > 0 {
			t.Fatalf("Check: %v, %v", result, err)
		}
		d, err := qcow2.Open(file, size)
		if err != nil {
			t.Fatal(err)
		}
		if got := readDisk(t, d); !bytes.Equal(got, want) {
			t.Fatalf("contents differ at byte %d", firstDifference(got, want))
		}
	})
}
