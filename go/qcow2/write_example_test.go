package qcow2_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	_ "github.com/rules-qcow2/rules_qcow2/go/qcow2/compress"
)

// Write an image with data at two places.
func ExampleWriter_WriteAt() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	f, err := os.Create(filepath.Join(dir, "disk.qcow2"))
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	w, err := qcow2.NewWriter(f, qcow2.WriterOptions{}, qcow2.GenerateWithFileSize(1<<30))
	if err != nil {
		log.Fatal(err)
	}
	for _, off := range []int64{1 << 29, 0} {
		if _, err := w.WriteAt([]byte("some data"), off); err != nil {
			log.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}

	disk, err := qcow2.OpenChain(f.Name())
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	for extent, err := range disk.Map(0, disk.Size()) {
		if err != nil {
			log.Fatal(err)
		}
		if extent.Data {
			fmt.Println("data at", extent.Start)
		}
	}
	// Output:
	// data at 0
	// data at 536870912
}

// Convert a raw disk to a compressed image. It needs an import:
//
//	import _ "github.com/rules-qcow2/rules_qcow2/go/qcow2/compress"
func ExampleWriter_CopyFrom() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	raw := filepath.Join(dir, "disk.raw")
	if err := os.WriteFile(raw, make([]byte, 10<<20), 0o666); err != nil {
		log.Fatal(err)
	}

	disk, err := qcow2.OpenChain(raw, qcow2.OpenWithFormat(qcow2.FormatRaw))
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	f, err := os.Create(filepath.Join(dir, "disk.qcow2"))
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	w, err := qcow2.NewWriter(f, qcow2.WriterOptions{Compress: true},
		qcow2.GenerateWithFileSize(uint64(disk.Size())),
		qcow2.GenerateWithCompressionType(qcow2.CompressionZstd))
	if err != nil {
		log.Fatal(err)
	}
	if err := w.CopyFrom(disk); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(w.Size(), "bytes of zeros take", info.Size())
	// Output: 10485760 bytes of zeros take 262144
}

// NewWriter writes a layer with the differences between a new release of a disk
// and the old one.
func ExampleNewWriter() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var disks []*qcow2.Disk
	for _, release := range []string{"old", "new"} {
		name := filepath.Join(dir, release+".raw")
		if err := os.WriteFile(name, append(make([]byte, 1<<20), release...), 0o666); err != nil {
			log.Fatal(err)
		}
		disk, err := qcow2.OpenChain(name, qcow2.OpenWithFormat(qcow2.FormatRaw))
		if err != nil {
			log.Fatal(err)
		}
		defer disk.Close()
		disks = append(disks, disk)
	}

	f, err := os.Create(filepath.Join(dir, "new.qcow2"))
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	w, err := qcow2.NewWriter(f, qcow2.WriterOptions{Backing: disks[0]},
		qcow2.GenerateWithBackingFile("old.raw"),
		qcow2.GenerateWithBackingFormat(qcow2.FormatRaw))
	if err != nil {
		log.Fatal(err)
	}
	if err := w.CopyFrom(disks[1]); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}

	layer, err := qcow2.OpenChain(f.Name())
	if err != nil {
		log.Fatal(err)
	}
	defer layer.Close()
	comparison, err := qcow2.Compare(disks[1], layer, false)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(comparison.Result == qcow2.Identical)
	// Output: true
}
