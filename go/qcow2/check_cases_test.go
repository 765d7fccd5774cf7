package qcow2_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// TestCheckGenerated checks images of Generate, and compares with QEMU's
// verdict.
func TestCheckGenerated(t *testing.T) {
	for name, opts := range map[string]options{
		"empty":                   {qcow2.GenerateWithFileSize(0)},
		"20 GiB":                  {qcow2.GenerateWithFileSize(20 << 30)},
		"1 PiB":                   {qcow2.GenerateWithFileSize(1 << 50)},
		"moved refcount table":    {qcow2.GenerateWithFileSize(9 << 30), qcow2.GenerateWithClusterSize(512), qcow2.GenerateWithRefcountBits(64)},
		"preallocated":            {qcow2.GenerateWithFileSize(1 << 30), qcow2.GenerateWithClusterSize(4096), qcow2.GenerateWithPreallocation(qcow2.PreallocationMetadata)},
		"preallocated subcluster": {qcow2.GenerateWithFileSize(1 << 30), qcow2.GenerateWithExtendedL2(true), qcow2.GenerateWithPreallocation(qcow2.PreallocationMetadata)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			mustGenerate(t, filepath.Join(dir, "image"), opts...)
			compareCheck(t, dir, "image")
			if result, err := checkFile(t, filepath.Join(dir, "image")); err != nil || verdict(result, nil) != 0 {
				t.Errorf("%v, %v", result, err)
			}
		})
	}
}

// TestCheckEncrypted checks images that QEMU opens only with their key.
func TestCheckEncrypted(t *testing.T) {
	for _, format := range []string{"luks", "aes"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			const secret = "secret,id=key,data=password"
			options := "encrypt.key-secret=key,encrypt.format=" + format
			if format == "luks" {
				options += ",encrypt.iter-time=10"
			}
			qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "--object", secret, "-o", options, "image", "10M")
			writePattern(t, filepath.Join(dir, "pattern"), 1<<20)
			image := "driver=qcow2,encrypt.key-secret=key,file.filename=image"
			qemuimg.Must(t, dir, "convert", "-n", "--object", secret, "--image-opts", "--target-image-opts", "driver=raw,file.filename=pattern", image)
			// A leak in the clusters that a LUKS header is in.
			b := readFile(t, dir, "image")
			b[2*65536+2*5+1]++
			writeFile(t, filepath.Join(dir, "image"), b)

			want := checkKeys(qemuJSON(t, qemuimg.Run(t, dir, "check", "--output=json", "--object", secret, "--image-opts", image).Stdout))
			result, err := checkFile(t, filepath.Join(dir, "image"))
			if err != nil {
				t.Fatal(err)
			}
			if got := checkJSON(t, result); !reflect.DeepEqual(got, want) || result.Leaks == 0 {
				t.Errorf("Check says     %v\nqemu-img check %v\n%q", got, want, result.Problems)
			}
		})
	}
}

// TestCheckRefuses has images that QEMU does not open, even to check them.
func TestCheckRefuses(t *testing.T) {
	dir := t.TempDir()
	qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "plain", "1M")
	qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "bitmaps", "10M")
	qemuimg.Must(t, dir, "bitmap", "--add", "bitmaps", "a")
	qemuimg.Must(t, dir, "bitmap", "--add", "bitmaps", "b")
	qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "snapshots", "1M")
	qemuimg.Must(t, dir, "snapshot", "-c", "s", "snapshots")
	bitmaps := readFile(t, dir, "bitmaps")
	extension := bytes.Index(bitmaps, []byte{0x23, 0x85, 0x28, 0x75})
	directory := int(binary.BigEndian.Uint64(bitmaps[extension+24:]))
	table := int(binary.BigEndian.Uint64(bitmaps[directory:]))
	snapshots := int(binary.BigEndian.Uint64(readFile(t, dir, "snapshots")[64:]))
	for _, test := range []struct {
		name   string
		image  string
		offset int
		bytes  string
		words  []string
	}{
		{"no qcow2", "plain", 0, "qfi", []string{"not a qcow2 image"}},
		{"version", "plain", 7, "\x01", []string{"not a qcow2 image"}},
		{"l1_size", "plain", 36, "\x01", []string{"L1 table", "33554432"}},
		{"raw without a data file", "plain", 95, "\x02", []string{"raw external data"}},
		{"LUKS without a header", "plain", 35, "\x02", []string{"LUKS"}},
		{"number of snapshots", "snapshots", 60, "\xff", []string{"snapshot table", "2621440"}},
		{"snapshots' offset", "snapshots", 71, "\x01", []string{"snapshot table", "cluster size"}},
		{"snapshot's extra data", "snapshots", snapshots + 36, "\x01", []string{"entry 0", "extra_data_size", "1024"}},
		{"bitmaps extension's length", "bitmaps", extension + 7, "\x20", []string{"bitmaps extension", "32", "24"}},
		{"reserved field", "bitmaps", extension + 12, "\x01", []string{"reserved"}},
		{"no bitmaps", "bitmaps", extension + 11, "\x00", []string{"nb_bitmaps is 0"}},
		{"more bitmaps", "bitmaps", extension + 11, "\x03", []string{"2 entries", "3"}},
		{"directory's offset", "bitmaps", extension + 31, "\x01", []string{"bitmap_directory_offset"}},
		{"directory beyond the end", "bitmaps", extension + 26, "\x01", []string{"beyond the end"}},
		{"directory's size", "bitmaps", extension + 19, "\x10", []string{"bitmap_directory_size"}},
		{"directory cut off", "bitmaps", extension + 23, "\x28", []string{"ends within an entry"}},
		{"extra data", "bitmaps", directory + 23, "\x07", []string{"entry 0", "extra_data_size is 7"}},
		{"table's offset", "bitmaps", directory + 7, "\x01", []string{"entry 0", "bitmap_table_offset"}},
		{"table's size", "bitmaps", directory + 11, "\x00", []string{"entry 0", "bitmap_table_size"}},
		{"table too long", "bitmaps", directory + 11, "\x02", []string{"entry 0", "bitmap_table_size is 2", "needs 1"}},
		{"flags", "bitmaps", directory + 15, "\x04", []string{"entry 0", "flags"}},
		{"type", "bitmaps", directory + 16, "\x02", []string{"entry 0", "type is 2"}},
		{"granularity", "bitmaps", directory + 17, "\x20", []string{"entry 0", "granularity_bits is 32"}},
		{"two of one name", "bitmaps", directory + 32 + 24, "a", []string{"entry 1", `"a"`}},
		{"bitmap table entry", "bitmaps", table, "\x80", []string{"bitmap table entry"}},
		{"bitmap table entry's offset", "bitmaps", table + 6, "\x02", []string{"bitmap table entry"}},
		{"bitmap table entry's flag", "bitmaps", table + 5, "\x01\x00\x01", []string{"bitmap table entry"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			image := bytes.Clone(readFile(t, dir, test.image))
			copy(image[test.offset:], test.bytes)
			path := filepath.Join(t.TempDir(), "image")
			writeFile(t, path, image)
			if result := qemuimg.Run(t, dir, "check", "-f", "qcow2", path); result.Code != 1 {
				t.Errorf("qemu-img check exits with %d: %s%s", result.Code, result.Stdout, result.Stderr)
			}
			result, err := qcow2.Check(bytes.NewReader(image), int64(len(image)))
			if err == nil {
				t.Fatalf("accepted: %+v", result)
			}
			for _, word := range test.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("error does not say %q: %v", word, err)
				}
			}
		})
	}
}

// TestCheckManyReferences damages an image so that clusters have more
// references than a refcount holds.
func TestCheckManyReferences(t *testing.T) {
	for _, refcountBits := range []int{1, 2, 4, 8, 16, 64} {
		dir := t.TempDir()
		qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "-o", fmt.Sprintf("cluster_size=4096,refcount_bits=%d,preallocation=metadata", refcountBits), "image", "2M")
		image := readFile(t, dir, "image")
		l2 := int(binary.BigEndian.Uint64(image[binary.BigEndian.Uint64(image[40:]):]) &^ (1 << 63))
		r := rand.New(rand.NewPCG(uint64(refcountBits), 0))
		for range 300 {
			// The entries of one half are the same two.
			copy(image[l2+8*r.IntN(256):][:8], image[l2+8*(510+r.IntN(2)):])
		}
		compareVerdict(t, dir, image, nil)
		// Refcounts that differ from their neighbours in a byte.
		block := int(binary.BigEndian.Uint64(image[binary.BigEndian.Uint64(image[48:]):]))
		for range 10 {
			image[block+r.IntN(512*refcountBits/8)] ^= 1 << r.IntN(8)
		}
		compareVerdict(t, dir, image, nil)
	}
}

// TestCheckHostile checks images whose tables all point to one another.
// qemu-img takes hours for them.
func TestCheckHostile(t *testing.T) {
	const clusterSize = 2 << 20
	header := func(clusters int) []byte {
		var b bytes.Buffer
		if err := qcow2.Generate(&b, qcow2.GenerateWithFileSize(1<<40), qcow2.GenerateWithClusterSize(clusterSize)); err != nil {
			t.Fatal(err)
		}
		return append(b.Bytes(), make([]byte, clusters*clusterSize-b.Len())...)
	}
	fill := func(b []byte, entry uint64) {
		for ; len(b) > 0; b = b[8:] {
			binary.BigEndian.PutUint64(b, entry)
		}
	}
	l1Tables := func(b []byte) {
		binary.BigEndian.PutUint32(b[36:], clusterSize/8)
		binary.BigEndian.PutUint64(b[40:], 3*clusterSize)
	}
	for name, prepare := range map[string]func() []byte{
		"all L1 entries to one L2 table": func() []byte {
			b := header(5)
			l1Tables(b)
			fill(b[3*clusterSize:4*clusterSize], 4*clusterSize)
			fill(b[4*clusterSize:], 4*clusterSize)
			return b
		},
		"L1 table is its own L2 table": func() []byte {
			b := header(4)
			l1Tables(b)
			fill(b[3*clusterSize:], 3*clusterSize)
			return b
		},
		"L2 tables at all sectors": func() []byte {
			b := header(5)
			l1Tables(b)
			for i := range clusterSize / 8 {
				binary.BigEndian.PutUint64(b[3*clusterSize+8*i:], uint64(512*(i%(5*clusterSize/512))))
			}
			return b
		},
		"snapshots share L1 tables of all lengths": func() []byte {
			b := header(6)
			l1Tables(b)
			fill(b[3*clusterSize:4*clusterSize], 3*clusterSize)
			const n = 40000
			binary.BigEndian.PutUint32(b[60:], n)
			binary.BigEndian.PutUint64(b[64:], 4*clusterSize)
			for i := range n {
				entry := b[4*clusterSize+56*i:]
				binary.BigEndian.PutUint64(entry, 3*clusterSize)
				binary.BigEndian.PutUint32(entry[8:], uint32(i))
				binary.BigEndian.PutUint32(entry[36:], 16)
			}
			return b
		},
		"refcount blocks at all clusters": func() []byte {
			b := header(4)
			fill(b[1*clusterSize:2*clusterSize], 1*clusterSize)
			return b
		},
		"refcount table is its own block": func() []byte {
			b := header(4)
			binary.BigEndian.PutUint64(b[48:], 2*clusterSize)
			fill(b[2*clusterSize:3*clusterSize], 2*clusterSize)
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			image := prepare()
			result, allocated := checkAllocated(t, bytes.NewReader(image), int64(len(image)))
			if result.Corruptions == 0 {
				t.Error("no corruption is found")
			}
			if limit := uint64(30 * len(image)); allocated > limit {
				t.Errorf("%d bytes are allocated for an image of %d", allocated, len(image))
			}
		})
	}
}

// checkAllocated returns the result of Check and the total number of bytes that
// it allocated.
func checkAllocated(t *testing.T, r io.ReaderAt, size int64) (*qcow2.CheckResult, uint64) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	result, err := qcow2.Check(r, size)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	return result, after.TotalAlloc - before.TotalAlloc
}

// sparseFile is start, followed by zeros.
type sparseFile []byte

func (f sparseFile) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(f)) {
		copy(p, f[off:])
	}
	return len(p), nil
}

// TestCheckMemory limits the memory for images of many terabytes. It must not
// depend on the virtual size or on the length of the file.
func TestCheckMemory(t *testing.T) {
	for _, size := range []uint64{1 << 20, 1 << 40, 2 << 50} {
		var b bytes.Buffer
		if err := qcow2.Generate(&b, qcow2.GenerateWithFileSize(size)); err != nil {
			t.Fatal(err)
		}
		for _, length := range []int64{int64(b.Len()), 16 << 40} {
			result, allocated := checkAllocated(t, sparseFile(b.Bytes()), length)
			if verdict(result, nil) != 0 {
				t.Errorf("%v, %q", result, result.Problems)
			}
			if allocated > 1<<20 {
				t.Errorf("%d bytes are allocated for a virtual size of %d in a file of %d bytes", allocated, size, length)
			}
		}
	}
}

// TestCheckReadError checks that an error of the file is returned, wherever it
// occurs.
func TestCheckReadError(t *testing.T) {
	s := newScript(t, 3, t.TempDir(), "image")
	for range 5 {
		s.step(t)
	}
	image := readFile(t, s.dir, s.name)
	for n := 0; ; n++ {
		r := &faultyReader{ReaderAt: bytes.NewReader(image), reads: n}
		result, err := qcow2.Check(r, int64(len(image)))
		if !r.failed {
			if err != nil || n < 5 {
				t.Fatalf("%d reads: %v, %v", n, result, err)
			}
			return
		}
		if err == nil || !strings.Contains(err.Error(), errReader.Error()) {
			t.Fatalf("read %d fails: %v, %v", n, result, err)
		}
	}
}

var errReader = fmt.Errorf("the reader's own error")

// faultyReader fails once, after a number of reads.
type faultyReader struct {
	io.ReaderAt
	reads  int
	failed bool
}

func (r *faultyReader) ReadAt(p []byte, off int64) (int, error) {
	if r.reads--; r.reads == -1 {
		r.failed = true
		return 0, errReader
	}
	return r.ReaderAt.ReadAt(p, off)
}
