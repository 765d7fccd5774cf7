package qcow2_test

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

func ExampleGenerate() {
	f, err := os.CreateTemp("", "disk-*.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()

	if err := qcow2.Generate(f, qcow2.GenerateWithFileSize(20<<30)); err != nil {
		log.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.Size(), "bytes")
	// Output: 196928 bytes
}

// An overlay reads as its backing file until something is written to it. The
// name is relative to the directory of the overlay.
func ExampleGenerate_overlay() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "base.img"), make([]byte, 10<<20), 0o666); err != nil {
		log.Fatal(err)
	}

	f, err := os.Create(filepath.Join(dir, "overlay.qcow2"))
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	if err := qcow2.Generate(f, qcow2.GenerateWithBackingFile("base.img")); err != nil {
		log.Fatal(err)
	}

	layers, err := qcow2.InspectChain(f.Name(), qcow2.FormatQCOW2)
	if err != nil {
		log.Fatal(err)
	}
	for _, layer := range layers {
		fmt.Println(filepath.Base(layer.Path), layer.Format, layer.VirtualSize)
	}
	// Output:
	// overlay.qcow2 qcow2 10485760
	// base.img raw 10485760
}

// Each test writes to its own layer. The image below stays unchanged.
func ExampleCreateLayer() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	base, disk := filepath.Join(dir, "base.img"), filepath.Join(dir, "disk.qcow2")
	if err := os.WriteFile(base, make([]byte, 10<<20), 0o444); err != nil {
		log.Fatal(err)
	}

	if err := qcow2.CreateLayer(disk, base, qcow2.FormatRaw); err != nil {
		log.Fatal(err)
	}
	layer, err := qcow2.InspectLayer(disk, qcow2.FormatQCOW2)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("virtual size:", layer.VirtualSize)
	fmt.Println("backing file is absolute:", filepath.IsAbs(layer.Image.BackingFile))
	fmt.Println("backing format:", layer.Image.BackingFormat)

	// It replaces no file.
	err = qcow2.CreateLayer(disk, base, qcow2.FormatRaw)
	fmt.Println("exists:", errors.Is(err, os.ErrExist))
	// Output:
	// virtual size: 10485760
	// backing file is absolute: true
	// backing format: raw
	// exists: true
}

// Options that exceed what the format or QEMU allows are refused, and nothing
// is written.
func ExampleGenerate_refused() {
	var image bytes.Buffer
	err := qcow2.Generate(&image, qcow2.GenerateWithFileSize(4<<50))
	fmt.Println(err)
	fmt.Println(image.Len(), "bytes")
	// Output:
	// qcow2: virtual size is 4503599627370496 bytes, with clusters of 65536 bytes qcow2 allows 2251799813685248; use larger clusters
	// 0 bytes
}

func ExampleInspect() {
	var file bytes.Buffer
	err := qcow2.Generate(&file,
		qcow2.GenerateWithFileSize(1<<40),
		qcow2.GenerateWithClusterSize(131072),
		qcow2.GenerateWithExtendedL2(true))
	if err != nil {
		log.Fatal(err)
	}

	image, err := qcow2.Inspect(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("virtual size:", image.Header.Size)
	fmt.Println("cluster size:", image.ClusterSize())
	fmt.Println("compat:", image.Compat())
	fmt.Println("extended L2:", image.ExtendedL2())
	// Output:
	// virtual size: 1099511627776
	// cluster size: 131072
	// compat: 1.1
	// extended L2: true
}

// A check needs neither QEMU nor the backing file.
func ExampleCheck() {
	var file bytes.Buffer
	err := qcow2.Generate(&file,
		qcow2.GenerateWithFileSize(1<<40),
		qcow2.GenerateWithBackingFile("/images/base.raw"),
		qcow2.GenerateWithBackingFormat(qcow2.FormatRaw))
	if err != nil {
		log.Fatal(err)
	}
	image := file.Bytes()
	image[2*65536+1] = 7 // the reference count of the header

	result, err := qcow2.Check(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("corruptions:", result.Corruptions, "leaks:", result.Leaks)
	for _, problem := range result.Problems {
		fmt.Println(problem)
	}
	// Output:
	// corruptions: 0 leaks: 1
	// Leaked cluster 0 refcount=7 reference=1
}
