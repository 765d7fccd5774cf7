package qcow2_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// FuzzOpenWriter writes to every input that opens for changes. Check and the reader
// must agree with what was written.
func FuzzOpenWriter(f *testing.F) {
	addImages(f)
	f.Fuzz(func(t *testing.T, image []byte) {
		before := bytes.Clone(image)
		disk, err := qcow2.Open(bytes.NewReader(before), int64(len(before)))
		if err != nil || disk.Size() > 32<<20 {
			return
		}
		want := make([]byte, disk.Size())
		if _, err := disk.ReadAt(want, 0); err != nil && !errors.Is(err, io.EOF) {
			return
		}
		// An image may count references to clusters far after its end, where the new
		// tables go then.
		file := &memory{data: bytes.Clone(image), room: 256 << 20}
		w, err := qcow2.OpenWriter(file, int64(len(image)), qcow2.WriterOptions{Backing: disk, Workers: 2})
		if err != nil {
			return
		}
		for i, off := range []int{0, 1000, len(want) / 2, len(want) - 700} {
			data := bytes.Repeat([]byte{byte(i)}, 5000*i+10)
			if off < 0 || off > len(want) {
				continue
			}
			n := copy(want[off:], data)
			if _, err := w.WriteAt(data[:n], int64(off)); errors.Is(err, io.ErrShortWrite) {
				return
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); errors.Is(err, io.ErrShortWrite) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		result, err := qcow2.Check(bytes.NewReader(file.data), int64(len(file.data)))
		if err != nil || result.Corruptions+result.CheckErrors > 0 {
			t.Fatalf("check: %+v, %v", result, err)
		}
		changed, err := qcow2.Open(bytes.NewReader(file.data), int64(len(file.data)))
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := changed.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%v; contents differ at byte %d", err, firstDifference(got, want))
		}
	})
}
