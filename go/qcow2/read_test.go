package qcow2_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

const (
	cluster = 65536 // Generate's default cluster size
	// The offsets of the tables. Generate puts the L1 table in cluster 3.
	l1Offset   = 3 * cluster
	l2Offset   = 4 * cluster
	dataOffset = 5 * cluster // a cluster of the pattern 5

	copied = 1 << 63
)

// craft makes an image of 1 MiB with an L2 table that has the given entries,
// and one data cluster.
func craft(t testing.TB, path string, entries []uint64, opts ...*qcow2.GenerateOption) {
	t.Helper()
	mustGenerate(t, path, append(options{qcow2.GenerateWithFileSize(1 << 20)}, opts...)...)
	if err := os.Truncate(path, dataOffset); err != nil {
		t.Fatal(err)
	}
	overwrite(t, path, l1Offset, uint64(l2Offset|copied))
	overwrite(t, path, l2Offset, entries)
	overwrite(t, path, dataOffset, bytes.Repeat([]byte{5}, cluster))
}

// TestReadBadTables has table entries that are not valid. Other entries stay
// readable.
func TestReadBadTables(t *testing.T) {
	extended := options{qcow2.GenerateWithExtendedL2(true)}
	for _, test := range []struct {
		name    string
		entries []uint64
		opts    options
		l1      uint64 // instead of the right one
		words   []string
		// qemuReads says that QEMU reads zeros after the end of the file.
		qemuReads bool
	}{
		{name: "L2 table between clusters", l1: l2Offset + 512,
			words: []string{"L1 table at offset 196608, entry 0", "262656", "not a multiple"}},
		{name: "L2 table behind the end", l1: 1 << 40,
			words: []string{"L1 table at offset 196608, entry 0", "1099511627776", "ends before"}, qemuReads: true},
		{name: "L2 table that is cut off", l1: dataOffset + cluster,
			words: []string{"L1 table at offset 196608, entry 0", "393216"}, qemuReads: true},
		{name: "cluster between clusters", entries: []uint64{0, dataOffset + 512},
			words: []string{"L2 table at offset 262144 (L1 entry 0), entry 1", "328192", "not a multiple"}},
		{name: "cluster behind the end", entries: []uint64{0, dataOffset + cluster},
			words: []string{"L2 table at offset 262144 (L1 entry 0), entry 1", "393216", "file is"}, qemuReads: true},
		{name: "zero flag in version 2", entries: []uint64{0, 1}, opts: options{qcow2.GenerateWithVersion(2)},
			words: []string{"entry 1", "zero flag", "version 2"}},
		{name: "compressed cluster behind the end", entries: []uint64{0, 1<<62 | 1<<40},
			words: []string{"compressed cluster at offset 1099511627776 (guest offset 65536)"}},
		{name: "compressed cluster that is none", entries: []uint64{0, 1<<62 | dataOffset},
			words: []string{"compressed cluster at offset 327680 (guest offset 65536)", "zlib"}},
		{name: "zstd that is none", entries: []uint64{0, 1<<62 | dataOffset}, opts: options{qcow2.GenerateWithCompressionType(qcow2.CompressionZstd)},
			words: []string{"compressed cluster at offset 327680 (guest offset 65536)", "zstd"}},
		{name: "subcluster allocated and zero", entries: []uint64{0, 0, dataOffset, 1<<35 | 1<<3}, opts: extended,
			words: []string{"entry 1", "subcluster 3 is both"}},
		{name: "subcluster allocated without cluster", entries: []uint64{0, 0, 0, 1 << 4}, opts: extended,
			words: []string{"entry 1", "subcluster 4 is allocated"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image.qcow2")
			craft(t, path, test.entries, test.opts...)
			if test.l1 != 0 {
				overwrite(t, path, l1Offset, test.l1)
			}
			d := openChain(t, path)
			b := make([]byte, 3*cluster)
			_, err := d.ReadAt(b, 0)
			checkError(t, err, append(test.words, path)...)
			_, err = d.WriteTo(io.Discard)
			checkError(t, err)
			writeFile(t, path+".empty", nil)
			_, err = qcow2.Compare(d, openChain(t, path+".empty"), false)
			checkError(t, err)
			if test.l1 == 0 {
				for _, at := range []int64{0, 2 * cluster} {
					if _, err := d.ReadAt(b[:cluster], at); err != nil {
						t.Errorf("an entry next to the bad one is not readable: %v", err)
					}
				}
			}
			if r := qemuimg.Run(t, "", "convert", "-O", "raw", path, path+".raw"); (r.Code == 0) != test.qemuReads {
				t.Errorf("qemu-img convert exits with %d: %s", r.Code, r.Stderr)
			}
		})
	}
}

// TestReadExternalDataFile has entries that QEMU does not write: some that are
// not allowed with an external data file, and a first cluster, whose offset is
// 0.
func TestReadExternalDataFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "image.qcow2")
	writeFile(t, filepath.Join(dir, "data"), bytes.Repeat([]byte{9}, 2*cluster))
	opts := options{qcow2.GenerateWithDataFile("data")}

	craft(t, path, []uint64{copied, 0, 2*cluster | copied}, opts...)
	d := openChain(t, path)
	got := readDisk(t, d)
	if got[0] != 9 || got[cluster-1] != 9 || got[cluster] != 0 || got[2*cluster] != 0 {
		t.Error("the data file is read at other places than its clusters, or not as zeros behind its end")
	}
	for _, test := range []struct {
		entry uint64
		word  string
	}{
		{1<<62 | dataOffset, "compressed"},
		{2 * cluster, "only its guest offset 65536"},
	} {
		craft(t, path, []uint64{0, test.entry}, opts...)
		_, err := openChain(t, path).ReadAt(make([]byte, 1), cluster)
		checkError(t, err, "entry 1", test.word)
	}
}

// TestReadEndOfFile has a last cluster that is cut off, and a file that became
// shorter.
func TestReadEndOfFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image.qcow2")
	craft(t, path, []uint64{dataOffset})
	if err := os.Truncate(path, dataOffset+1000); err != nil {
		t.Fatal(err)
	}
	d := openChain(t, path)
	if got := readDisk(t, d); got[999] != 5 || !bytes.Equal(got[1000:], make([]byte, len(got)-1000)) {
		t.Error("what is behind the end of the file does not read as zeros")
	}
	if err := os.Truncate(path, dataOffset+500); err != nil {
		t.Fatal(err)
	}
	_, err := d.ReadAt(make([]byte, 1000), 0)
	checkError(t, err, "guest offset 0", fmt.Sprint(dataOffset+500))
}

// TestReadSize has a size in the header that is not a multiple of 512.
func TestReadSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image.qcow2")
	craft(t, path, []uint64{dataOffset})
	overwrite(t, path, 24, uint64(1000))
	d := openChain(t, path)
	if d.Size() != 512 || len(readDisk(t, d)) != 512 {
		t.Errorf("size is %d, QEMU has 512", d.Size())
	}
}

func TestReadAt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image.qcow2")
	craft(t, path, []uint64{dataOffset, 0, dataOffset})
	d := openChain(t, path)
	want := make([]byte, 1<<20)
	for _, at := range []int{0, 2 * cluster} {
		copy(want[at:], bytes.Repeat([]byte{5}, cluster))
	}
	if err := iotest.TestReader(io.NewSectionReader(d, cluster-1000, 2*cluster), want[cluster-1000:][:2*cluster]); err != nil {
		t.Error(err)
	}
	for _, test := range []struct {
		off       int64
		length, n int
		err       error
	}{
		{0, 0, 0, nil},
		{1 << 20, 1, 0, io.EOF},
		{1 << 62, 1, 0, io.EOF},
		{1<<20 - 1, 1, 1, nil},
		{1<<20 - 1, 2, 1, io.EOF},
	} {
		if n, err := d.ReadAt(make([]byte, test.length), test.off); n != test.n || err != test.err {
			t.Errorf("ReadAt of %d bytes at %d: %d, %v; want %d, %v", test.length, test.off, n, err, test.n, test.err)
		}
	}
	_, err := d.ReadAt(make([]byte, 1), -1)
	checkError(t, err, "-1")
}

// TestReadAtKeepsToItsBuffer has a buffer with more capacity than length.
// ReadAt must not write after its length.
func TestReadAtKeepsToItsBuffer(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "content.raw"), bytes.Repeat([]byte("cluster "), 8*cluster/8))
	for _, method := range []string{"zlib", "zstd"} {
		qemuimg.Must(t, dir, "convert", "-c", "-O", "qcow2", "-o", "compression_type="+method, "content.raw", method+".qcow2")
		d := openChain(t, filepath.Join(dir, method+".qcow2"))
		for _, n := range []int{1, cluster, cluster + 1, 3 * cluster} {
			b := bytes.Repeat([]byte{0xaa}, n+1000)
			if _, err := d.ReadAt(b[:n], 0); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b[n:], bytes.Repeat([]byte{0xaa}, 1000)) {
				t.Errorf("%s: ReadAt of %d bytes writes behind them", method, n)
			}
		}
	}
}

// TestReadParallel reads an image from several goroutines. It has more tables
// and compressed clusters than fit into the caches.
func TestReadParallel(t *testing.T) {
	dir := t.TempDir()
	const size = 24 << 20
	want := make([]byte, size)
	for i := 0; i < size; i += 8 {
		binary.LittleEndian.PutUint64(want[i:], uint64(i/3000))
	}
	writeFile(t, filepath.Join(dir, "content.raw"), want)
	qemuimg.Must(t, dir, "convert", "-c", "-O", "qcow2", "-o", "cluster_size=4k", "content.raw", "image.qcow2")
	d := openChain(t, filepath.Join(dir, "image.qcow2"))
	var wait sync.WaitGroup
	for worker := range uint64(4) {
		wait.Add(1)
		go func() {
			defer wait.Done()
			r := rand.New(rand.NewPCG(worker, 0))
			b := make([]byte, 10000)
			for range 3000 {
				off := r.IntN(size - len(b))
				n := r.IntN(len(b))
				if _, err := d.ReadAt(b[:n], int64(off)); err != nil {
					t.Error(err)
					return
				}
				if !bytes.Equal(b[:n], want[off:off+n]) {
					t.Errorf("wrong content in %d bytes at %d", n, off)
					return
				}
			}
		}()
	}
	wait.Wait()
}

// TestReadCompressedLayers has two layers with compressed clusters of the same
// offset and length in their files.
func TestReadCompressedLayers(t *testing.T) {
	dir := t.TempDir()
	qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "base.qcow2", "256k")
	qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "overlay.qcow2")
	for name, command := range map[string]string{"base.qcow2": "write -q -c -P 1 0 64k", "overlay.qcow2": "write -q -c -P 2 64k 64k"} {
		if r := qemuimg.IO(t, dir, name, command); r.Code != 0 {
			t.Fatal(r)
		}
	}
	d := openChain(t, filepath.Join(dir, "overlay.qcow2"))
	// Parts of clusters go through the cache.
	for i := range 100 {
		var b [1]byte
		if _, err := d.ReadAt(b[:], int64(i)*1000); err != nil {
			t.Fatal(err)
		}
		if want := byte(1 + i*1000/cluster); b[0] != want {
			t.Fatalf("at %d is %d, want %d", i*1000, b[0], want)
		}
	}
}

// TestReadManyTables reads at random offsets of a disk whose L2 tables do not
// fit into the cache.
func TestReadManyTables(t *testing.T) {
	const size = 4 << 40 // eight MiB of L2 tables
	path := filepath.Join(t.TempDir(), "image.qcow2")
	mustGenerate(t, path, qcow2.GenerateWithFileSize(size), qcow2.GenerateWithClusterSize(2<<20), qcow2.GenerateWithPreallocation(qcow2.PreallocationMetadata))
	d := openChain(t, path)
	var extents []qcow2.Extent
	for e, err := range d.Map(0, size) {
		if err != nil {
			t.Fatal(err)
		}
		extents = append(extents, e)
	}
	if len(extents) != 1 {
		t.Fatalf("map has %d extents, want 1", len(extents))
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := rand.New(rand.NewPCG(1, 0))
	for range 2000 {
		var b, got [8]byte
		off := r.Int64N(size/8) * 8
		binary.BigEndian.PutUint64(b[:], uint64(off)+1)
		if _, err := f.WriteAt(b[:], extents[0].Offset+off); err != nil {
			t.Fatal(err)
		}
		if _, err := d.ReadAt(got[:], off); err != nil {
			t.Fatal(err)
		}
		if got != b {
			t.Fatalf("at %d is %x, want %x", off, got, b)
		}
	}
}

// TestWriteTo writes to a file, which gets holes, and to a writer that fails.
func TestWriteTo(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "image.qcow2")
	qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "image.qcow2", "10G")
	if r := qemuimg.IO(t, dir, "image.qcow2", "write -q -P 7 3G 5M", "write -q -P 8 9G 1k"); r.Code != 0 {
		t.Fatal(r)
	}
	d := openChain(t, path)
	f, err := os.Create(filepath.Join(dir, "out.raw"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n, err := d.WriteTo(f); n != 10<<30 || err != nil {
		t.Fatalf("WriteTo: %d, %v", n, err)
	}
	if n := bytesOnDisk(t, f.Name()); n > 6<<20 {
		t.Errorf("%d bytes on disk, 5 MiB are data", n)
	}
	if out := qemuimg.Must(t, dir, "compare", "image.qcow2", "out.raw"); out != "Images are identical.\n" {
		t.Error(out)
	}
	if _, err := d.WriteTo(&failingWriter{room: 3<<30 + 100}); err != errFull {
		t.Errorf("WriteTo to a full writer: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.WriteTo(io.Discard); err == nil {
		t.Error("WriteTo of a closed disk succeeded")
	}
}

var errFull = fmt.Errorf("full")

type failingWriter struct{ room int }

func (w *failingWriter) Write(b []byte) (int, error) {
	if len(b) > w.room {
		return w.room, errFull
	}
	w.room -= len(b)
	return len(b), nil
}
