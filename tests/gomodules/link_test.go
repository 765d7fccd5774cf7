// Package gomodules_test links two repositories of one Go module: the ruleset's, which
// go/qcow2/compress imports, and the one of a consumer with gazelle. A linker that takes
// them for the same packages fails.
package gomodules_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	_ "github.com/rules-qcow2/rules_qcow2/go/qcow2/compress"
)

func TestBothRepositories(t *testing.T) {
	if got, want := reflect.TypeFor[zstd.Encoder]().PkgPath(), "github.com/klauspost/compress/zstd"; got != want {
		t.Errorf("the consumer's package is %s, want %s", got, want)
	}
	// Both work: a disk of the consumer's bytes is compressed by the ruleset's.
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := encoder.EncodeAll(bytes.Repeat([]byte("both "), 1000), nil)
	want = append(want, make([]byte, 4096-len(want))...)

	f, err := os.Create(filepath.Join(t.TempDir(), "disk.qcow2"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := qcow2.NewWriter(f, qcow2.WriterOptions{Compress: true},
		qcow2.GenerateWithFileSize(uint64(len(want))),
		qcow2.GenerateWithCompressionType(qcow2.CompressionZstd))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	disk, err := qcow2.OpenChain(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	got := make([]byte, len(want))
	if _, err := disk.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the disk has other bytes")
	}
}
