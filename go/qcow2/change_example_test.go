package qcow2_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// makeLayer creates base.raw, and layer.qcow2 on it with some data, in dir.
func makeLayer(dir string) (layer string) {
	base := filepath.Join(dir, "base.raw")
	if err := os.WriteFile(base, append([]byte("base"), make([]byte, 1<<20)...), 0o666); err != nil {
		log.Fatal(err)
	}
	layer = filepath.Join(dir, "layer.qcow2")
	if err := qcow2.CreateLayer(layer, base, qcow2.FormatRaw); err != nil {
		log.Fatal(err)
	}
	return layer
}

// firstBytes returns the beginning of a disk.
func firstBytes(path string) string {
	disk, err := qcow2.OpenChain(path)
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	b := make([]byte, 9)
	if _, err := disk.ReadAt(b, 0); err != nil {
		log.Fatal(err)
	}
	return string(b)
}

// Write to an image that exists.
func ExampleOpenWriter() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	layer := makeLayer(dir)

	contents, err := qcow2.OpenChain(layer)
	if err != nil {
		log.Fatal(err)
	}
	defer contents.Close()
	f, err := os.OpenFile(layer, os.O_RDWR, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		log.Fatal(err)
	}
	w, err := qcow2.OpenWriter(f, info.Size(), qcow2.WriterOptions{Backing: contents})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := w.WriteAt([]byte("layer"), 4); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(firstBytes(layer))
	// Output: baselayer
}

// Make a layer independent of its backing file.
func ExampleRebase() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	layer := makeLayer(dir)

	if err := qcow2.Rebase(layer, "", "", qcow2.ChangeOptions{}); err != nil {
		log.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "base.raw")); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q\n", firstBytes(layer))
	// Output: "base\x00\x00\x00\x00\x00"
}

// Record another name of the backing file, which has moved.
func ExampleRebaseUnsafe() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	layer := makeLayer(dir)

	if err := os.Rename(filepath.Join(dir, "base.raw"), filepath.Join(dir, "moved.raw")); err != nil {
		log.Fatal(err)
	}
	if err := qcow2.RebaseUnsafe(layer, "moved.raw", qcow2.FormatRaw); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.4s\n", firstBytes(layer))
	// Output: base
}

// Write the data of a layer to the image below it.
func ExampleCommit() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	top := filepath.Join(dir, "top.qcow2")
	if err := qcow2.CreateLayer(top, makeLayer(dir), qcow2.FormatQCOW2); err != nil {
		log.Fatal(err)
	}

	if err := qcow2.Commit(top, "", false, qcow2.ChangeOptions{}); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.4s\n", firstBytes(filepath.Join(dir, "layer.qcow2")))
	// Output: base
}
