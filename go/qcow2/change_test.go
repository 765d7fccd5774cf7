package qcow2_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuscript"
)

// unchangeable reports whether an error says that the image has something that
// OpenWriter refuses.
func unchangeable(err error) bool {
	return err != nil && strings.Contains(err.Error(), "such images cannot be changed")
}

// contents returns what QEMU reads from an image.
func contents(t *testing.T, dir, format, name string) []byte {
	t.Helper()
	qemuimg.Must(t, dir, "convert", "-f", format, "-O", "raw", name, "contents.raw")
	return readFile(t, filepath.Join(dir, "contents.raw"))
}

// leaks reports whether an image has leaked clusters. QEMU makes some in images with
// narrow reference counts.
func leaks(t *testing.T, dir, format, name string) bool {
	t.Helper()
	return format == qcow2.FormatQCOW2 && qemuimg.Run(t, dir, "check", "-f", format, name).Code == 3
}

func checkContents(t *testing.T, dir, format, name string, want []byte, mayLeak bool) {
	t.Helper()
	if got := contents(t, dir, format, name); !bytes.Equal(got, want) {
		t.Errorf("%s: QEMU reads %d bytes, want %d; they differ at byte %d", name, len(got), len(want), firstDifference(got, want))
	}
	if format == qcow2.FormatQCOW2 {
		if check := qemuimg.Run(t, dir, "check", "-f", "qcow2", name); check.Code != 0 && !(mayLeak && check.Code == 3) {
			t.Errorf("%s: qemu-img check: %+v", name, check)
		}
	}
}

// copyTree returns a copy of a directory, with the holes of its files.
func copyTree(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if out, err := exec.Command("cp", "-a", "--sparse=always", dir, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	return to
}

// TestOpenWriterRandom writes to images that QEMU made, with subclusters,
// compressed clusters and preallocation, and lets QEMU write to the result.
func TestOpenWriterRandom(t *testing.T) {
	qemuscript.Seeds(t, 30, func(t *testing.T, seed uint64) {
		dir := t.TempDir()
		chain := qemuscript.Make(t, dir, seed)
		top := chain.Layers[0]
		if top.Format != qcow2.FormatQCOW2 {
			return
		}
		path := filepath.Join(dir, top.Name)
		r := &randomWriter{Rand: rand.New(rand.NewPCG(seed, 3)), dir: dir, clusterSize: 4096}
		r.want = contents(t, dir, top.Format, top.Name)
		mayLeak := leaks(t, dir, top.Format, top.Name)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		options := qcow2.WriterOptions{Backing: openChain(t, path), Compress: r.IntN(2) == 0, Workers: 1 + r.IntN(4), KeepZeros: r.IntN(4) == 0}
		before := readFile(t, path)
		w, err := qcow2.OpenWriter(f, info.Size(), options)
		if unchangeable(err) {
			if !bytes.Equal(before, readFile(t, path)) {
				t.Error("an image that was refused has changed")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(r.want) > 0 {
			r.write(t, w)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		checkContents(t, dir, top.Format, top.Name, r.want, mayLeak)
		if len(r.want) < 512 {
			return
		}
		end := len(r.want)/512*512 - 512
		if w := qemuimg.IO(t, dir, top.Name, "write -q -P 77 0 512", fmt.Sprintf("write -q -P 78 %d 512", end)); w.Code != 0 {
			t.Fatalf("qemu-io: %+v", w)
		}
		copy(r.want, bytes.Repeat([]byte{77}, 512))
		copy(r.want[end:], bytes.Repeat([]byte{78}, 512))
		checkContents(t, dir, top.Format, top.Name, r.want, mayLeak)
	})
}

// TestOpenWriterCopyFrom copies a disk into an existing image.
func TestOpenWriterCopyFrom(t *testing.T) {
	qemuscript.Seeds(t, 20, func(t *testing.T, seed uint64) {
		dir := t.TempDir()
		top := qemuscript.Make(t, dir, seed).Layers[0]
		if top.Format != qcow2.FormatQCOW2 {
			return
		}
		path := filepath.Join(dir, top.Name)
		r := &randomWriter{Rand: rand.New(rand.NewPCG(seed, 4)), dir: dir}
		want, mayLeak := contents(t, dir, top.Format, top.Name), leaks(t, dir, top.Format, top.Name)
		source := bytes.Clone(want)
		for range r.IntN(5) {
			if at := r.IntN(len(source) + 1); at < len(source) {
				copy(source[at:], r.data(1+r.IntN(200<<10)))
			}
		}
		source = source[:r.IntN(len(source)+1)&^511]
		copy(want, source)
		writeFile(t, filepath.Join(dir, "source.raw"), source)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		w, err := qcow2.OpenWriter(f, info.Size(), qcow2.WriterOptions{Backing: openChain(t, path), Compress: r.IntN(2) == 0})
		if unchangeable(err) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := w.CopyFrom(openChain(t, filepath.Join(dir, "source.raw"), qcow2.OpenWithFormat(qcow2.FormatRaw))); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		checkContents(t, dir, top.Format, top.Name, want, mayLeak)
	})
}

// TestRebaseRandom changes the backing file of random images: to nothing, to another
// disk, and to a layer further down. The contents stay the same.
func TestRebaseRandom(t *testing.T) {
	qemuscript.Seeds(t, 30, func(t *testing.T, seed uint64) {
		dir := t.TempDir()
		chain := qemuscript.Make(t, dir, seed)
		top := chain.Layers[0]
		if top.Format != qcow2.FormatQCOW2 {
			return
		}
		path := filepath.Join(dir, top.Name)
		r := &randomWriter{Rand: rand.New(rand.NewPCG(seed, 5)), dir: dir}
		want, mayLeak := contents(t, dir, top.Format, top.Name), leaks(t, dir, top.Format, top.Name)
		other := bytes.Clone(want)
		for range r.IntN(4) {
			if at := r.IntN(len(other) + 1); at < len(other) {
				copy(other[at:], r.data(1+r.IntN(300<<10)))
			}
		}
		writeFile(t, filepath.Join(dir, "other.raw"), other[:r.IntN(len(other)+1)])
		backing, format := "other.raw", qcow2.FormatRaw
		switch r.IntN(4) {
		case 0:
			backing, format = "", ""
		case 1:
			if n := len(chain.Layers); n > 1 {
				below := chain.Layers[1+r.IntN(n-1)]
				backing, format = below.Name, below.Format
			}
		}
		err := qcow2.Rebase(path, backing, format, qcow2.ChangeOptions{Compress: r.IntN(3) == 0})
		if unchangeable(err) {
			return
		}
		if err != nil {
			t.Fatalf("rebase to %q: %v", backing, err)
		}
		checkContents(t, dir, top.Format, top.Name, want, mayLeak)
		image, err := qcow2.InspectLayer(path, qcow2.FormatQCOW2)
		if err != nil {
			t.Fatal(err)
		}
		if image.Image.BackingFile != backing || image.Image.BackingFormat != format {
			t.Errorf("backing file is %q, %q; want %q, %q", image.Image.BackingFile, image.Image.BackingFormat, backing, format)
		}
	})
}

// TestCommitRandom commits random layers to the one below, and compares all of the
// chain with what qemu-img makes of it.
func TestCommitRandom(t *testing.T) {
	qemuscript.Seeds(t, 40, func(t *testing.T, seed uint64) {
		dir := t.TempDir()
		chain := qemuscript.Make(t, dir, seed)
		if len(chain.Layers) < 2 {
			return
		}
		top := chain.Layers[0]
		r := rand.New(rand.NewPCG(seed, 6))
		base := chain.Layers[1+r.IntN(len(chain.Layers)-1)]
		theirs := copyTree(t, dir)
		ours := dir
		err := qcow2.Commit(filepath.Join(ours, top.Name), filepath.Join(ours, base.Name), true, qcow2.ChangeOptions{})
		if unchangeable(err) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if commit := qemuimg.Run(t, theirs, "commit", "-q", "-d", "-b", base.Name, top.Name); commit.Code != 0 {
			t.Logf("qemu-img commit: %+v", commit)
			return
		}
		for _, layer := range []qemuscript.Layer{top, base} {
			checkContents(t, ours, layer.Format, layer.Name, contents(t, theirs, layer.Format, layer.Name), leaks(t, theirs, layer.Format, layer.Name))
		}
		want := contents(t, ours, top.Format, top.Name)
		if base.Name != chain.Layers[1].Name {
			return
		}
		if err := qcow2.Commit(filepath.Join(ours, top.Name), "", false, qcow2.ChangeOptions{}); unchangeable(err) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		checkContents(t, ours, top.Format, top.Name, want, false)
	})
}
