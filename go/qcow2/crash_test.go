package qcow2

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuscript"
)

// A recordedFile is a file in memory that keeps all writes.
type recordedFile struct {
	data   []byte
	writes []recordedWrite
}

type recordedWrite struct {
	data   []byte
	offset int64
}

func (f *recordedFile) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(f.data).ReadAt(p, off)
}

func (f *recordedFile) WriteAt(p []byte, off int64) (int, error) {
	f.writes = append(f.writes, recordedWrite{bytes.Clone(p), off})
	f.data = recordedWrite{p, off}.applyTo(f.data)
	return len(p), nil
}

func (w recordedWrite) applyTo(data []byte) []byte {
	if missing := int(w.offset) + len(w.data) - len(data); missing > 0 {
		data = append(data, make([]byte, missing)...)
	}
	copy(data[w.offset:], w.data)
	return data
}

// TestRebaseCrash stops a rebase after each write, and in the middle of each write.
// The image must have its contents, with its old or its new backing file, and must
// not be corrupt.
func TestRebaseCrash(t *testing.T) {
	qemuscript.Seeds(t, 15, func(t *testing.T, seed uint64) {
		dir := t.TempDir()
		top := qemuscript.Make(t, dir, seed).Layers[0]
		if top.Format != FormatQCOW2 {
			return
		}
		r := rand.New(rand.NewPCG(seed, 9))
		before, err := os.ReadFile(filepath.Join(dir, top.Name))
		if err != nil {
			t.Fatal(err)
		}
		old, err := OpenChain(filepath.Join(dir, top.Name), OpenWithFormat(FormatQCOW2))
		if err != nil {
			t.Fatal(err)
		}
		defer old.Close()
		want := make([]byte, old.size)
		if _, err := old.ReadAt(want, 0); err != nil {
			t.Fatal(err)
		}
		other := bytes.Clone(want)
		for range 3 {
			if at := r.IntN(len(other) + 1); at < len(other) {
				clear(other[at:min(len(other), at+r.IntN(1<<20))])
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "other.raw"), other, 0o666); err != nil {
			t.Fatal(err)
		}
		fresh, err := OpenChain(filepath.Join(dir, "other.raw"), OpenWithFormat(FormatRaw))
		if err != nil {
			t.Fatal(err)
		}
		defer fresh.Close()

		f := &recordedFile{data: bytes.Clone(before)}
		w, err := openWriter(f, int64(len(before)), WriterOptions{Backing: fresh, Compress: false}, rebaseTo("other.raw", FormatRaw))
		if err != nil && strings.Contains(err.Error(), "cannot be changed") {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		// A table cache of four tables writes some of them before the end.
		w.tables.room, w.counts.tables.room = 4, 4
		filter, err := rebaseFilter(old, fresh)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.copyFrom(old, filter); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		data := bytes.Clone(before)
		for i, write := range f.writes {
			if len(f.writes)-i < 10 || r.IntN(len(f.writes)) < 20 {
				judgeCrash(t, dir, bytes.Clone(data), want, r.IntN(30) == 0)
				if write.offset != 0 { // the header
					half := recordedWrite{write.data[:r.IntN(len(write.data))], write.offset}
					judgeCrash(t, dir, half.applyTo(bytes.Clone(data)), want, false)
				}
			}
			data = write.applyTo(data)
		}
		judgeCrash(t, dir, data, want, true)
	})
}

// judgeCrash checks an image. If withQEMU is true, qemu-img does so, too.
func judgeCrash(t *testing.T, dir string, image, want []byte, withQEMU bool) {
	t.Helper()
	path := filepath.Join(dir, "crash.qcow2")
	if err := os.WriteFile(path, image, 0o666); err != nil {
		t.Fatal(err)
	}
	if result, err := Check(bytes.NewReader(image), int64(len(image))); err != nil || result.Corruptions+result.CheckErrors > 0 {
		t.Errorf("check after a crash: %+v, %v", result, err)
	}
	d, err := OpenChain(path, OpenWithFormat(FormatQCOW2))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got := make([]byte, len(want))
	if _, err := d.ReadAt(got, 0); err != nil && err != io.EOF || !bytes.Equal(got, want) {
		t.Errorf("contents after a crash differ: %v", err)
	}
	if !withQEMU {
		return
	}
	if r := qemuimg.Run(t, dir, "check", "-f", "qcow2", "crash.qcow2"); r.Code != 0 && r.Code != 3 {
		t.Errorf("qemu-img check after a crash: %+v", r)
	}
	qemuimg.Must(t, dir, "convert", "-f", "qcow2", "-O", "raw", "crash.qcow2", "crash.raw")
	if b, err := os.ReadFile(filepath.Join(dir, "crash.raw")); err != nil || !bytes.Equal(b, want) {
		t.Errorf("QEMU reads other contents after a crash: %v", err)
	}
}
