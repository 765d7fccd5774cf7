package qcow2_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// writerImages have holes between structures, in structures, and at the end.
var writerImages = map[string]options{
	"20 GiB":       {qcow2.GenerateWithFileSize(20 << 30)},
	"empty":        {qcow2.GenerateWithFileSize(0)},
	"small":        {qcow2.GenerateWithFileSize(1 << 20), qcow2.GenerateWithClusterSize(512)},
	"large":        {qcow2.GenerateWithFileSize(64 << 40)},
	"preallocated": {qcow2.GenerateWithFileSize(5<<20 + 512), qcow2.GenerateWithPreallocation(qcow2.PreallocationMetadata)},
}

// TestGenerateSameBytesToAnyWriter compares with the bytes in a bytes.Buffer,
// which other tests compare with qemu-img's.
func TestGenerateSameBytesToAnyWriter(t *testing.T) {
	const before = "what was there before"
	writers := map[string]func(t *testing.T, path string, opts options) (want []byte, err error){
		"new file": func(t *testing.T, path string, opts options) ([]byte, error) {
			return nil, generate(t, path, opts...)
		},
		"append": func(t *testing.T, path string, opts options) ([]byte, error) {
			writeFile(t, path, []byte(before))
			return []byte(before), generateInto(t, path, os.O_WRONLY|os.O_APPEND, 0, io.SeekStart, opts)
		},
		"append to nothing": func(t *testing.T, path string, opts options) ([]byte, error) {
			writeFile(t, path, nil)
			return nil, generateInto(t, path, os.O_WRONLY|os.O_APPEND, 0, io.SeekStart, opts)
		},
		"at the end": func(t *testing.T, path string, opts options) ([]byte, error) {
			writeFile(t, path, []byte(before))
			return []byte(before), generateInto(t, path, os.O_WRONLY, 0, io.SeekEnd, opts)
		},
		"beyond the end": func(t *testing.T, path string, opts options) ([]byte, error) {
			writeFile(t, path, []byte(before))
			return append([]byte(before), 0, 0, 0), generateInto(t, path, os.O_WRONLY, 3, io.SeekEnd, opts)
		},
		"pipe": func(t *testing.T, path string, opts options) ([]byte, error) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			done := make(chan error)
			go func() {
				defer w.Close()
				done <- qcow2.Generate(w, opts...)
			}()
			b := make(chan []byte)
			go func() {
				all, _ := io.ReadAll(r)
				b <- all
			}()
			err = <-done
			writeFile(t, path, <-b)
			return nil, err
		},
	}
	for name, opts := range writerImages {
		var image bytes.Buffer
		if err := qcow2.Generate(&image, opts...); err != nil {
			t.Fatal(err)
		}
		for writer, write := range writers {
			t.Run(name+"/"+writer, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "image.qcow2")
				want, err := write(t, path, opts)
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, image.Bytes()...)
				if got := readFile(t, path); !bytes.Equal(got, want) {
					t.Errorf("file of %d bytes differs from what a bytes.Buffer gets, %d bytes, at byte %d", len(got), len(want), firstDifference(got, want))
				}
			})
		}
	}
}

// TestGenerateOverOldContents writes at the start of a longer file. Holes must
// not show its old contents.
func TestGenerateOverOldContents(t *testing.T) {
	for name, opts := range writerImages {
		t.Run(name, func(t *testing.T) {
			var image bytes.Buffer
			if err := qcow2.Generate(&image, opts...); err != nil {
				t.Fatal(err)
			}
			old := bytes.Repeat([]byte("old"), image.Len())
			path := filepath.Join(t.TempDir(), "image.qcow2")
			writeFile(t, path, old)
			if err := generateInto(t, path, os.O_WRONLY, 0, io.SeekStart, opts); err != nil {
				t.Fatal(err)
			}
			want := append(image.Bytes(), old[image.Len():]...)
			if got := readFile(t, path); !bytes.Equal(got, want) {
				t.Errorf("file differs from the image followed by the rest of the old contents at byte %d", firstDifference(got, want))
			}
		})
	}
}

func generateInto(t *testing.T, path string, flag int, offset int64, whence int, opts options) error {
	t.Helper()
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Seek(offset, whence); err != nil {
		t.Fatal(err)
	}
	return qcow2.Generate(f, opts...)
}

// limitedWriter fails after n bytes.
type limitedWriter struct {
	n   int
	err error
}

func (w *limitedWriter) Write(b []byte) (int, error) {
	if len(b) > w.n {
		return w.n, w.err
	}
	w.n -= len(b)
	return len(b), nil
}

func TestGenerateReturnsErrorOfWriter(t *testing.T) {
	failure := errors.New("the writer's own error")
	for name, opts := range writerImages {
		t.Run(name, func(t *testing.T) {
			var image bytes.Buffer
			if err := qcow2.Generate(&image, opts...); err != nil {
				t.Fatal(err)
			}
			for _, n := range []int{0, 1, image.Len() / 2, image.Len() - 1} {
				if err := qcow2.Generate(&limitedWriter{n, failure}, opts...); !errors.Is(err, failure) {
					t.Errorf("error after %d of %d bytes is %v", n, image.Len(), err)
				}
			}
			if err := qcow2.Generate(&limitedWriter{image.Len(), failure}, opts...); err != nil {
				t.Errorf("error with room for the whole image: %v", err)
			}
		})
	}
}

// faultyFile fails in one of the calls that make holes.
type faultyFile struct {
	*os.File
	seeks, truncates int // calls that succeed
	err              error
}

func (f *faultyFile) Seek(offset int64, whence int) (int64, error) {
	if f.seeks == 0 {
		return 0, f.err
	}
	f.seeks--
	return f.File.Seek(offset, whence)
}

func (f *faultyFile) Truncate(size int64) error {
	if f.truncates == 0 {
		return f.err
	}
	f.truncates--
	return f.File.Truncate(size)
}

// TestGenerateToFaultyFile makes each call for holes fail in turn. Either the
// image must be complete or the error must be returned.
func TestGenerateToFaultyFile(t *testing.T) {
	failure := errors.New("the file's own error")
	var image bytes.Buffer
	if err := qcow2.Generate(&image, writerImages["20 GiB"]...); err != nil {
		t.Fatal(err)
	}
	for calls := range 10 {
		for _, limits := range [][2]int{{calls, 1000}, {1000, calls}} {
			path := filepath.Join(t.TempDir(), "image.qcow2")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			err = qcow2.Generate(&faultyFile{f, limits[0], limits[1], failure}, writerImages["20 GiB"]...)
			f.Close()
			switch {
			case err == nil && !bytes.Equal(readFile(t, path), image.Bytes()):
				t.Errorf("after %d seeks and %d truncates, no error but another image", limits[0], limits[1])
			case err != nil && !errors.Is(err, failure):
				t.Errorf("after %d seeks and %d truncates, error is %v", limits[0], limits[1], err)
			}
		}
	}
}

func TestGenerateToFullDevice(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	for name, opts := range writerImages {
		if err := qcow2.Generate(f, opts...); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: error is %v, want %v", name, err, syscall.ENOSPC)
		}
	}
}

func TestGenerateToReadOnlyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image.qcow2")
	writeFile(t, path, nil)
	if err := generateInto(t, path, os.O_RDONLY, 0, io.SeekStart, writerImages["20 GiB"]); err == nil {
		t.Error("no error from a file opened for reading")
	}
}
