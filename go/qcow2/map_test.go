package qcow2_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuscript"
)

// countingReader counts the bytes that are read.
type countingReader struct {
	io.ReaderAt
	bytes int64
}

func (r *countingReader) ReadAt(p []byte, off int64) (int, error) {
	r.bytes += int64(len(p))
	return r.ReaderAt.ReadAt(p, off)
}

// TestMapReadsWhatIsAllocated maps a disk of 1 PiB with two clusters. Map may
// read only the L1 table and the two L2 tables.
func TestMapReadsWhatIsAllocated(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "image.qcow2")
	const size = 1 << 50
	mustGenerate(t, path, qcow2.GenerateWithFileSize(size))
	if r := qemuimg.IO(t, dir, "image.qcow2", "write -q 1T 64k", "write -q 1000T 64k"); r.Code != 0 {
		t.Fatal(r)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	r := &countingReader{ReaderAt: f}
	d, err := qcow2.Open(r, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	r.bytes = 0
	var starts []int64
	for e, err := range d.Map(0, size) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Data {
			starts = append(starts, e.Start)
		}
	}
	if len(starts) != 2 || starts[0] != 1<<40 || starts[1] != 1000<<40 {
		t.Errorf("data is at %d", starts)
	}
	const l1Bytes = size / (512 << 20) * 8
	if r.bytes > l1Bytes+1<<20 {
		t.Errorf("%d bytes were read, the L1 table has %d", r.bytes, l1Bytes)
	}
}

// TestMapOfManyExtents has an overlay without data. Its L1 table of 16 MiB must
// not be read again for each extent of the base.
func TestMapOfManyExtents(t *testing.T) {
	dir := t.TempDir()
	base, overlay := filepath.Join(dir, "base.raw"), filepath.Join(dir, "overlay.qcow2")
	f, err := os.Create(base)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const extents = 5000
	for i := range int64(extents) {
		if _, err := f.WriteAt([]byte{1}, i<<20); err != nil {
			t.Fatal(err)
		}
	}
	mustGenerate(t, overlay, qcow2.GenerateWithFileSize(1<<50), qcow2.GenerateWithBackingFile("base.raw"), qcow2.GenerateWithBackingFormat("raw"))
	d := openChain(t, overlay)
	n := 0
	for e, err := range d.Map(0, 1<<50) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Data {
			n++
		}
	}
	if n != extents {
		t.Errorf("%d extents have data, want %d", n, extents)
	}
}

// TestMapShortLayers has layers that are shorter than those above them.
func TestMapShortLayers(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "base.raw"), bytes.Repeat([]byte{1}, 70001))
	for _, args := range [][]string{
		{"-b", "base.raw", "-F", "raw", "middle.qcow2", "200k"},
		{"-b", "middle.qcow2", "-F", "qcow2", "overlay.qcow2", "1M"},
		// Clusters that have an offset, but get their data from below.
		{"-o", "extended_l2=on,preallocation=metadata", "-b", "middle.qcow2", "-F", "qcow2", "preallocated.qcow2", "1M"},
		{"-o", "preallocation=metadata", "empty.qcow2", "0"},
	} {
		qemuimg.Must(t, dir, append([]string{"create", "-q", "-f", "qcow2"}, args...)...)
	}
	for _, name := range []string{"overlay.qcow2", "preallocated.qcow2", "empty.qcow2"} {
		top := qemuscript.Layer{Name: name, Format: "qcow2"}
		d := openChain(t, filepath.Join(dir, name))
		compareMap(t, d, dir, top)
		compareContent(t, d, qemuContent(t, dir, top))
	}
	top := qemuscript.Layer{Name: "base.raw", Format: "raw"}
	compareMap(t, openChain(t, filepath.Join(dir, "base.raw")), dir, top)
}

// TestMapEndOfPreallocatedFile has a last cluster that is a hole, in a file
// that ends within it.
func TestMapEndOfPreallocatedFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "image.qcow2")
	mustGenerate(t, path, qcow2.GenerateWithFileSize(8<<20), qcow2.GenerateWithPreallocation(qcow2.PreallocationMetadata))
	if r := qemuimg.IO(t, dir, "image.qcow2", "write -q 1M 128k"); r.Code != 0 {
		t.Fatal(r)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int64{512, 1000, 4096, cluster - 1} {
		if err := os.Truncate(path, info.Size()-cut); err != nil {
			t.Fatal(err)
		}
		compareMap(t, openChain(t, path), dir, qemuscript.Layer{Name: "image.qcow2", Format: "qcow2"})
	}
}

// TestMapAlmostPreallocated has a preallocated image that gets data step by
// step. QEMU looks for holes as long as they are a tenth of it.
func TestMapAlmostPreallocated(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "image.qcow2")
	mustGenerate(t, path, qcow2.GenerateWithFileSize(128*cluster), qcow2.GenerateWithPreallocation(qcow2.PreallocationMetadata))
	holes := map[bool]int{}
	for written := 104; written <= 128; written += 4 {
		if r := qemuimg.IO(t, dir, "image.qcow2", fmt.Sprintf("write -q 0 %d", written*cluster)); r.Code != 0 {
			t.Fatal(r)
		}
		d := openChain(t, path)
		compareMap(t, d, dir, qemuscript.Layer{Name: "image.qcow2", Format: "qcow2"})
		hole := false
		for e := range d.Map(0, d.Size()) {
			hole = hole || e.Zero
		}
		holes[hole]++
	}
	if holes[true] == 0 || holes[false] < 2 {
		t.Errorf("map has holes %d times, and none %d times", holes[true], holes[false])
	}
}

func TestMapPartsAndErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image.qcow2")
	craft(t, path, []uint64{0, dataOffset, 0, dataOffset + 512})
	d := openChain(t, path)
	type part struct{ start, length int64 }
	for _, test := range []struct {
		part
		want  []part
		fails bool
	}{
		{part{0, cluster}, []part{{0, cluster}}, false},
		{part{1000, 100}, []part{{1000, 100}}, false},
		{part{cluster - 1, 2}, []part{{cluster - 1, 1}, {cluster, 1}}, false},
		{part{5 * cluster, 1 << 62}, []part{{5 * cluster, 11 * cluster}}, false},
		{part{1 << 20, 1}, nil, false},
		{part{1 << 62, 1 << 62}, nil, false},
		{part{0, 0}, nil, false},
		{part{2 * cluster, 1 << 20}, []part{{2 * cluster, cluster}}, true},
		{part{-1, 1}, nil, true},
		{part{1, -1}, nil, true},
	} {
		var got []part
		var failure error
		for e, err := range d.Map(test.start, test.length) {
			if failure != nil {
				t.Errorf("Map(%d, %d) goes on after an error", test.start, test.length)
			}
			if failure = err; err == nil {
				got = append(got, part{e.Start, e.Length})
			}
		}
		if len(got) != len(test.want) {
			t.Errorf("Map(%d, %d) has %v, want %v", test.start, test.length, got, test.want)
			continue
		}
		for i := range got {
			if got[i] != test.want[i] {
				t.Errorf("Map(%d, %d) has %v, want %v", test.start, test.length, got, test.want)
			}
		}
		if test.fails {
			checkError(t, failure)
		} else if failure != nil {
			t.Errorf("Map(%d, %d): %v", test.start, test.length, failure)
		}
	}
	for range d.Map(0, 1<<20) {
		break // the rest is not asked for
	}
}
