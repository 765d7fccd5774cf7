package qcow2_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuscript"
)

// cutImages are images whose last clusters are tables of different kinds.
var cutImages = []struct {
	name    string
	options string
	size    string
	write   []string   // commands of qemu-io
	change  [][]string // later commands of qemu-img, without the name of the image
}{
	{name: "L1 table", options: "cluster_size=512", size: "100M"},
	{name: "L1 table of version 2", options: "cluster_size=64k,compat=0.10", size: "3T"},
	{name: "large L1 table", options: "cluster_size=2M", size: "1P"},
	{name: "L2 table", options: "cluster_size=4k", size: "8M", write: []string{"write -P 1 0 20k", "write -z 4M 8k"}},
	{name: "extended L2 table", options: "cluster_size=16k,extended_l2=on", size: "64M", write: []string{"write -P 1 0 20k", "write -z 40M 24k"}},
	{name: "refcount blocks", options: "cluster_size=512,refcount_bits=64", size: "100k", write: []string{"write -P 1 0 60k", "write -P 2 70k 3k"}},
	{name: "snapshot table", options: "cluster_size=4k", size: "8M", write: []string{"write -P 1 0 20k", "write -P 2 4M 4k"},
		change: [][]string{{"snapshot", "-c", "a snapshot with a name of some length"}, {"snapshot", "-c", "b"}}},
	{name: "bitmap directory", options: "cluster_size=4k", size: "8M", write: []string{"write -P 1 0 20k"},
		change: [][]string{{"bitmap", "--add", "-g", "512"}, {"bitmap", "--add"}}},
	{name: "deflate", options: "cluster_size=4k", size: "1M", write: []string{"write -c -P 1 0 8k", "write -c -P 0 16k 4k", "write -c -P 2 12k 4k"}},
	{name: "zstd", options: "cluster_size=4k,compression_type=zstd", size: "1M", write: []string{"write -c -P 1 0 8k", "write -c -P 0 16k 4k", "write -c -P 2 12k 4k"}},
	{name: "data file", options: "cluster_size=4k,data_file=data", size: "8M", write: []string{"write -P 1 0 20k", "write -P 3 4M 4k"}},
}

// TestCutOff cuts off the ends of images. The verdict must be that of qemu-img
// check. Unless that is a corruption, info, map, contents and comparison must be
// QEMU's, for which the missing end of a file is zero. In a corrupt image a whole
// cluster may be missing; then an error is right, too.
func TestCutOff(t *testing.T) {
	for _, image := range cutImages {
		t.Run(image.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "-o", image.options, "whole", image.size)
			if r := qemuimg.IO(t, dir, "whole", image.write...); r.Code != 0 {
				t.Fatal(r.Stdout, r.Stderr)
			}
			for n, args := range image.change {
				args = append(args, "whole")
				if args[0] == "bitmap" {
					args = append(args, fmt.Sprint("name", n))
				}
				qemuimg.Must(t, dir, args...)
			}
			whole := readFile(t, dir, "whole")
			for _, length := range cuts(t, whole) {
				t.Run(fmt.Sprint(length), func(t *testing.T) { compareCutOff(t, dir, whole[:length]) })
			}
		})
	}
}

// cuts returns lengths at which structures of an image end, or end next to.
func cuts(t *testing.T, image []byte) []int {
	h, err := qcow2.Inspect(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	last := len(bytes.TrimRight(image, "\x00"))
	lengths := []int{last - 1, last, last &^ 511}
	n := 4
	if long() {
		n = 400
		lengths = append(lengths, 72, 104, 112, 500, last+1, len(image)-1)
	}
	r := rand.New(rand.NewPCG(uint64(len(image)), 0))
	size := int(h.ClusterSize())
	for range n {
		// Near the end of the file there are more of them.
		at := (len(image) - r.IntN(1+r.IntN(len(image)))) / size * size
		lengths = append(lengths, at+[]int{-513, -512, -1, 0, 1, 8, 512, r.IntN(size)}[r.IntN(8)])
	}
	slices.Sort(lengths)
	return slices.DeleteFunc(slices.Compact(lengths), func(n int) bool { return n < 0 || n > len(image) })
}

func compareCutOff(t *testing.T, dir string, image []byte) {
	verdict := compareVerdict(t, dir, image, nil)
	compareInspect(t, dir, image)
	writeFile(t, filepath.Join(dir, "cut"), image)
	cut := qemuscript.Layer{Name: "cut", Format: "qcow2"}
	path := filepath.Join(dir, cut.Name)
	size := int64(0)
	if h, err := qcow2.Inspect(bytes.NewReader(image), int64(len(image))); err == nil {
		size = int64(h.Header.Size)
	}
	small := size <= 64<<20

	var theirs qemuimg.Result
	if small {
		theirs = qemuimg.Run(t, dir, "convert", "-f", "qcow2", "-O", "raw", "cut", "content.raw")
	} else {
		theirs = qemuimg.Run(t, dir, "map", "-f", "qcow2", "cut")
	}
	d, err := qcow2.OpenChain(path, qcow2.OpenWithFormat("qcow2"))
	if err == nil {
		defer d.Close()
		for _, mapErr := range d.Map(0, size) {
			err = mapErr
		}
	}
	if err == nil && small {
		_, err = d.ReadAt(make([]byte, d.Size()), 0)
	}
	switch corrupt := verdict == 1 || verdict == 2; {
	case err == nil && theirs.Code != 0:
		t.Errorf("QEMU does not read it: %s", theirs.Stderr)
	case err != nil && theirs.Code == 0 && !corrupt:
		t.Errorf("QEMU reads it: %v", err)
	}
	if err != nil || theirs.Code != 0 {
		return
	}
	compareMap(t, d, dir, cut)
	if !small {
		return
	}
	compareContent(t, d, readFile(t, dir, "content.raw"))
	compareComparison(t, dir, cut, qemuscript.Layer{Name: "whole", Format: "qcow2"}, false)
	for _, s := range d.Layers()[0].Image.Snapshots {
		compareCutOffSnapshot(t, dir, s.ID, verdict)
	}
	if verdict == 0 || verdict == 3 {
		writeCutOff(t, dir, d)
	}
}

// compareCutOffSnapshot compares the contents of a snapshot of the image "cut".
func compareCutOffSnapshot(t *testing.T, dir, id string, verdict int) {
	theirs := qemuimg.Run(t, dir, "convert", "-f", "qcow2", "-O", "raw", "-l", "snapshot.id="+id, "cut", "snapshot.raw")
	d, err := qcow2.OpenChain(filepath.Join(dir, "cut"), qcow2.OpenWithSnapshot(id))
	var got []byte
	if err == nil {
		defer d.Close()
		got = make([]byte, d.Size())
		_, err = d.ReadAt(got, 0)
	}
	switch {
	case err != nil && theirs.Code == 0 && verdict != 2:
		t.Errorf("QEMU reads snapshot %q: %v", id, err)
	case err == nil && theirs.Code != 0:
		t.Errorf("QEMU does not read snapshot %q: %s", id, theirs.Stderr)
	case err == nil && !bytes.Equal(got, readFile(t, dir, "snapshot.raw")):
		t.Errorf("snapshot %q has other contents", id)
	}
}

// writeCutOff changes parts of clusters of the image "cut".
func writeCutOff(t *testing.T, dir string, d *qcow2.Disk) {
	want := readDisk(t, d)
	f, err := os.OpenFile(filepath.Join(dir, "cut"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	w, err := qcow2.OpenWriter(f, info.Size(), qcow2.WriterOptions{Backing: d})
	if err != nil {
		return // it has snapshots, bitmaps or a data file
	}
	for at := 1000; at < len(want); at += 8192 {
		if _, err := w.WriteAt([]byte("new"), int64(at)); err != nil {
			t.Fatal(err)
		}
		copy(want[at:], "new")
		if at > 100_000 {
			break
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if r := qemuimg.Run(t, dir, "check", "-f", "qcow2", "cut"); r.Code != 0 && r.Code != 3 {
		t.Errorf("after changes, qemu-img check exits with %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	qemuimg.Must(t, dir, "convert", "-f", "qcow2", "-O", "raw", "cut", "changed.raw")
	if !bytes.Equal(readFile(t, dir, "changed.raw"), want) {
		t.Error("after changes, the contents are wrong")
	}
}
