package qcow2_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	_ "github.com/rules-qcow2/rules_qcow2/go/qcow2/zstd"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuscript"
)

// TestRandomChains compares contents and map with QEMU's, for backing chains
// that QEMU made. See qemuscript.Seeds for a long run.
func TestRandomChains(t *testing.T) {
	qemuscript.Seeds(t, 25, func(t *testing.T, seed uint64) {
		dir := t.TempDir()
		chain := qemuscript.Make(t, dir, seed)
		top := chain.Layers[0]
		d := openChain(t, filepath.Join(dir, top.Name), qcow2.OpenWithFormat(top.Format), qcow2.OpenWithRoot(dir))
		compareContent(t, d, qemuContent(t, dir, top))
		compareMap(t, d, dir, top)
		compareComparisons(t, dir, chain.Layers, seed)
		for _, name := range top.Snapshots {
			s := openChain(t, filepath.Join(dir, top.Name), qcow2.OpenWithSnapshot(name))
			// QEMU reads a snapshot with the present size of the image.
			want := qemuContent(t, dir, top, "-l", "snapshot.name="+name)
			got := readDisk(t, s)
			if n := min(len(got), len(want)); !bytes.Equal(got[:n], want[:n]) {
				t.Errorf("snapshot %s differs at byte %d", name, firstDifference(got, want))
			}
		}
	})
}

func openChain(t testing.TB, path string, opts ...*qcow2.OpenOption) *qcow2.Disk {
	t.Helper()
	d, err := qcow2.OpenChain(path, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func readDisk(t testing.TB, d *qcow2.Disk) []byte {
	t.Helper()
	b := make([]byte, d.Size())
	if n, err := d.ReadAt(b, 0); err != nil {
		t.Fatalf("ReadAt: %d of %d bytes, %v", n, len(b), err)
	}
	return b
}

// qemuContent returns the contents of a chain as qemu-img reads them.
func qemuContent(t testing.TB, dir string, top qemuscript.Layer, args ...string) []byte {
	t.Helper()
	args = append([]string{"convert", "-f", top.Format, "-O", "raw"}, args...)
	qemuimg.Must(t, dir, append(args, top.Name, "content.raw")...)
	return readFile(t, dir, "content.raw")
}

// compareContent reads d in every way and compares with want.
func compareContent(t *testing.T, d *qcow2.Disk, want []byte) {
	t.Helper()
	if d.Size() != int64(len(want)) {
		t.Fatalf("size is %d, qemu-img's %d", d.Size(), len(want))
	}
	if got := readDisk(t, d); !bytes.Equal(got, want) {
		t.Errorf("ReadAt of all: content differs at byte %d", firstDifference(got, want))
	}
	var out bytes.Buffer
	if n, err := d.WriteTo(&out); err != nil || n != d.Size() {
		t.Errorf("WriteTo: %d bytes, %v", n, err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("WriteTo: content differs at byte %d", firstDifference(out.Bytes(), want))
	}
	// Pieces that begin and end at any byte.
	piece := make([]byte, 7777)
	for off := 0; off < len(want); off += 33333 {
		n := min(len(piece), len(want)-off)
		if _, err := d.ReadAt(piece[:n], int64(off)); err != nil {
			t.Fatalf("ReadAt(%d): %v", off, err)
		}
		if !bytes.Equal(piece[:n], want[off:off+n]) {
			t.Errorf("ReadAt(%d): content differs at byte %d", off, off+firstDifference(piece[:n], want[off:]))
		}
	}
}

// qemuMapEntry is an entry of qemu-img map --output=json.
type qemuMapEntry struct {
	Start, Length, Depth int64
	Present, Zero, Data  bool
	Compressed           *bool // nil before QEMU 8.2
	Offset               *int64
}

func (e qemuMapEntry) String() string {
	offset, compressed := "none", "unknown"
	if e.Offset != nil {
		offset = fmt.Sprint(*e.Offset)
	}
	if e.Compressed != nil {
		compressed = fmt.Sprint(*e.Compressed)
	}
	return fmt.Sprintf("start %d length %d depth %d present %t zero %t data %t compressed %s offset %s",
		e.Start, e.Length, e.Depth, e.Present, e.Zero, e.Data, compressed, offset)
}

// compareMap compares Map with qemu-img map.
func compareMap(t *testing.T, d *qcow2.Disk, dir string, top qemuscript.Layer) {
	t.Helper()
	// QEMU prints an entry even for a disk of size 0.
	var want []qemuMapEntry
	if d.Size() > 0 {
		out := qemuimg.Must(t, dir, "map", "-f", top.Format, "--output=json", top.Name)
		if err := json.Unmarshal([]byte(out), &want); err != nil {
			t.Fatal(err)
		}
	}
	var got []qemuMapEntry
	for e, err := range d.Map(0, d.Size()) {
		if err != nil {
			t.Fatal(err)
		}
		entry := qemuMapEntry{Start: e.Start, Length: e.Length, Depth: int64(e.Depth), Present: e.Present, Zero: e.Zero, Data: e.Data, Compressed: &e.Compressed}
		if len(want) > 0 && want[0].Compressed == nil {
			entry.Compressed = nil
		}
		if e.HasOffset {
			entry.Offset = &e.Offset
		}
		got = append(got, entry)
	}
	for i := range max(len(got), len(want)) {
		var g, w string
		if i < len(got) {
			g = got[i].String()
		}
		if i < len(want) {
			w = want[i].String()
		}
		if g != w {
			t.Errorf("map entry %d:\n  ours     %s\n  qemu-img %s", i, g, w)
			return
		}
	}
}

// compareComparisons compares the results of Compare with those of qemu-img
// compare: for a chain and content.raw, with some bytes changed, and for a
// chain and its lowest layer.
func compareComparisons(t *testing.T, dir string, layers []qemuscript.Layer, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	content := readFile(t, dir, "content.raw")
	if r.IntN(3) == 0 {
		content = append(content, make([]byte, r.IntN(1<<20))...)
	}
	if len(content) > 0 && r.IntN(2) == 0 {
		content[r.IntN(len(content))] ^= 1
	}
	writeFile(t, filepath.Join(dir, "content.raw"), content)
	compareComparison(t, dir, layers[0], qemuscript.Layer{Name: "content.raw", Format: "raw"}, seed%4 == 0)
	compareComparison(t, dir, layers[0], layers[len(layers)-1], seed%2 == 0)
}

func compareComparison(t *testing.T, dir string, one, other qemuscript.Layer, strict bool) {
	t.Helper()
	args := []string{"compare", "-f", one.Format, "-F", other.Format, one.Name, other.Name}
	if strict {
		args = append(args, "-s")
	}
	want := qemuimg.Run(t, dir, args...)
	a := openChain(t, filepath.Join(dir, one.Name), qcow2.OpenWithFormat(one.Format))
	b := openChain(t, filepath.Join(dir, other.Name), qcow2.OpenWithFormat(other.Format))
	c, err := qcow2.Compare(a, b, strict)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	if c.SizesDiffer {
		got = "Warning: Image size mismatch!\n"
	}
	switch c.Result {
	case qcow2.Identical:
		got += "Images are identical.\n"
	case qcow2.ContentMismatch:
		got += fmt.Sprintf("Content mismatch at offset %d!\n", c.Offset)
	case qcow2.SizeMismatch:
		got += "Strict mode: Image size mismatch!\n"
	case qcow2.StatusMismatch:
		got += fmt.Sprintf("Strict mode: Offset %d block status mismatch!\n", c.Offset)
	}
	if got != want.Stdout {
		t.Errorf("qemu-img %q:\nours     %sqemu-img %s%s", args, got, want.Stdout, want.Stderr)
	}
}
