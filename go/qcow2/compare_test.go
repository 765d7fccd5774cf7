package qcow2_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuscript"
)

// TestCompareSizes compares disks of different sizes.
func TestCompareSizes(t *testing.T) {
	dir := t.TempDir()
	content := bytes.Repeat([]byte{3}, 100<<10)
	for name, b := range map[string][]byte{
		"short.raw":  content,
		"zeros.raw":  append(bytes.Clone(content), make([]byte, 100<<10)...),
		"more.raw":   append(append(bytes.Clone(content), make([]byte, 70000)...), 1),
		"other.raw":  append(bytes.Clone(content[:99<<10]), make([]byte, 50<<10)...),
		"uneven.raw": content[:99999],
	} {
		writeFile(t, filepath.Join(dir, name), b)
	}
	qemuimg.Must(t, dir, "convert", "-O", "qcow2", "zeros.raw", "zeros.qcow2")
	qemuimg.Must(t, dir, "convert", "-c", "-O", "qcow2", "more.raw", "more.qcow2")
	layers := []qemuscript.Layer{{Name: "short.raw", Format: "raw"}, {Name: "zeros.raw", Format: "raw"}, {Name: "more.raw", Format: "raw"}, {Name: "other.raw", Format: "raw"},
		{Name: "uneven.raw", Format: "raw"}, {Name: "zeros.qcow2", Format: "qcow2"}, {Name: "more.qcow2", Format: "qcow2"}}
	for i, one := range layers {
		for _, other := range layers[i+1:] {
			compareComparison(t, dir, one, other, false)
			if i%2 == 0 {
				compareComparison(t, dir, other, one, false)
			}
		}
	}
	compareComparison(t, dir, layers[0], layers[1], true)
}

// TestCompareStrict has empty disks that differ only in how far one answer of
// QEMU's driver reaches: to the end of one disk, but not of the other.
func TestCompareStrict(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct{ size, one, other string }{
		{"100G", "cluster_size=64k", "cluster_size=2M"},
		{"100G", "cluster_size=4k", "cluster_size=64k"},
		{"100G", "cluster_size=16k,extended_l2=on", "cluster_size=64k"},
		{"100G", "cluster_size=2M", "cluster_size=2M,extended_l2=on"},
		{"4000M", "cluster_size=512", "cluster_size=64k"},
	} {
		qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "-o", test.one, "one.qcow2", test.size)
		qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "-o", test.other, "other.qcow2", test.size)
		compareComparison(t, dir, qemuscript.Layer{Name: "one.qcow2", Format: "qcow2"}, qemuscript.Layer{Name: "other.qcow2", Format: "qcow2"}, true)
	}
}

// TestCompareStrictShortBase has two overlays that differ only in the end of
// their bases.
func TestCompareStrictShortBase(t *testing.T) {
	dir := t.TempDir()
	content := bytes.Repeat([]byte{1}, 1<<20)
	writeFile(t, filepath.Join(dir, "short.raw"), content)
	writeFile(t, filepath.Join(dir, "long.raw"), content)
	if err := os.Truncate(filepath.Join(dir, "long.raw"), 2<<20); err != nil {
		t.Fatal(err)
	}
	var layers []qemuscript.Layer
	for _, name := range []string{"short", "long"} {
		qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "-b", name+".raw", "-F", "raw", name+".qcow2", "2M")
		layers = append(layers, qemuscript.Layer{Name: name + ".qcow2", Format: "qcow2"})
	}
	compareComparison(t, dir, layers[0], layers[1], true)
	compareComparison(t, dir, layers[1], layers[0], true)
	compareComparison(t, dir, layers[0], layers[1], false)
}

// TestCompareSkipsHoles compares empty disks of 8 TiB. It would not end if
// Compare read them.
func TestCompareSkipsHoles(t *testing.T) {
	dir := t.TempDir()
	const size = 8 << 40
	mustGenerate(t, filepath.Join(dir, "image.qcow2"), qcow2.GenerateWithFileSize(size))
	writeFile(t, filepath.Join(dir, "image.raw"), nil)
	if err := os.Truncate(filepath.Join(dir, "image.raw"), size); err != nil {
		t.Fatal(err)
	}
	compareComparison(t, dir, qemuscript.Layer{Name: "image.qcow2", Format: "qcow2"}, qemuscript.Layer{Name: "image.raw", Format: "raw"}, false)
}

func TestCompareErrors(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.qcow2"), filepath.Join(dir, "bad.qcow2")
	craft(t, good, []uint64{dataOffset, dataOffset})
	for _, test := range []struct {
		entry uint64
		read  bool
	}{
		{dataOffset + 512, false},     // the map fails
		{1<<62 | dataOffset, true},    // decompression does
		{1<<62 | 1<<40, true},         // and this, behind the end of the file
		{dataOffset + cluster, false}, // the map already sees it
	} {
		craft(t, bad, []uint64{dataOffset, test.entry})
		for i := range 2 {
			disks := []*qcow2.Disk{openChain(t, good), openChain(t, good)}
			disks[i] = openChain(t, bad)
			_, err := qcow2.Compare(disks[0], disks[1], false)
			checkError(t, err, bad)
			var failure *qcow2.CompareError
			if !errors.As(err, &failure) {
				t.Fatalf("error is %T", err)
			}
			if failure.Disk != i || failure.Read != test.read || failure.Offset >= 2*cluster {
				t.Errorf("disk %d, entry %#x: %+v", i, test.entry, failure)
			}
		}
	}
}
