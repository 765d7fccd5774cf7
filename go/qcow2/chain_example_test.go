package qcow2_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

func ExampleProbeFormat() {
	_, file := generated(qcow2.GenerateWithFileSize(1 << 30))
	for _, r := range []interface {
		ReadAt(p []byte, off int64) (int, error)
	}{file, strings.NewReader("any bytes at all")} {
		format, err := qcow2.ProbeFormat(r)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(format)
	}
	// Output:
	// qcow2
	// raw
}

// QEMU uses the name by which it opened the image, not the target of a symbolic
// link.
func ExampleDetectFormat() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "disk.img")
	if err := os.WriteFile(path, []byte("<!DOCTYPE html>\n<title>Not found"), 0o666); err != nil {
		log.Fatal(err)
	}
	_, err = qcow2.DetectFormat(path)
	var notDisk *qcow2.NotDiskError
	if errors.As(err, &notDisk) {
		fmt.Println(notDisk.What)
	}
	// Output: it is an HTML or XML page
}

func ExampleResolveDataFile() {
	fmt.Println(qcow2.ResolveDataFile("disks/disk.qcow2", "disk.data"))
	fmt.Println(qcow2.ResolveDataFile("disks/disk.qcow2", "a:b"))
	// Output:
	// disks/disk.data
	// disks/a:b
}

func ExampleResolveBackingFile() {
	fmt.Println(qcow2.ResolveBackingFile("bazel-bin/disk.qcow2", "disk.qcow2.backing/base.img"))
	fmt.Println(qcow2.ResolveBackingFile("bazel-bin/disk.qcow2", "/images/base.img"))
	// Output:
	// bazel-bin/disk.qcow2.backing/base.img
	// /images/base.img
}

func ExampleInspectChain() {
	dir := exampleChain()
	defer os.RemoveAll(dir)

	layers, err := qcow2.InspectChain(filepath.Join(dir, "overlay.qcow2"), qcow2.FormatQCOW2)
	if err != nil {
		log.Fatal(err)
	}
	for _, layer := range layers {
		fmt.Println(filepath.Base(layer.Path), layer.Format, layer.VirtualSize)
	}
	// Output:
	// overlay.qcow2 qcow2 2097152
	// base.raw raw 1048576
}

// InspectLayer opens no other file. The backing file may be missing.
func ExampleInspectLayer() {
	dir := exampleChain()
	defer os.RemoveAll(dir)

	layer, err := qcow2.InspectLayer(filepath.Join(dir, "overlay.qcow2"), "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(layer.Format, layer.VirtualSize, layer.Image.BackingFile)
	// Output:
	// qcow2 2097152 base.raw
}

// Open can read an image in memory. The image must not need a backing file,
// because Open does not look for one.
func ExampleOpen() {
	_, file := generated(qcow2.GenerateWithFileSize(1 << 30))
	disk, err := qcow2.Open(file, file.Size())
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	sector := []byte("what a guest reads from an empty disk is zeros")
	if _, err := disk.ReadAt(sector, 512); err != nil {
		log.Fatal(err)
	}
	fmt.Println(disk.Size(), sector[:4])
	// Output: 1073741824 [0 0 0 0]
}

// Give the format of the top layer if you know it: a guest that writes to a raw
// disk decides what its first bytes show.
func ExampleOpenWithFormat() {
	dir := exampleChain()
	defer os.RemoveAll(dir)

	disk, err := qcow2.OpenChain(filepath.Join(dir, "overlay.qcow2"), qcow2.OpenWithFormat(qcow2.FormatRaw))
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	fmt.Println("the image as the contents of a disk:", len(disk.Layers()), "layer of", disk.Size(), "bytes")
	// Output: the image as the contents of a disk: 1 layer of 197120 bytes
}

// A layer outside of the directory is refused, whichever layer names it.
func ExampleOpenWithRoot() {
	dir := exampleChain()
	defer os.RemoveAll(dir)
	images := filepath.Join(dir, "images")
	if err := os.Mkdir(images, 0o777); err != nil {
		log.Fatal(err)
	}
	f, err := os.Create(filepath.Join(images, "top.qcow2"))
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	if err := qcow2.Generate(f, qcow2.GenerateWithBackingFile("../overlay.qcow2")); err != nil {
		log.Fatal(err)
	}

	_, err = qcow2.OpenChain(f.Name(), qcow2.OpenWithRoot(images))
	fmt.Println(err != nil)
	// Output: true
}

// A snapshot is the state of the disk at the time it was taken.
func ExampleOpenWithSnapshot() {
	path := "testdata/fuzz/images/snapshots.qcow2"
	for _, opts := range [][]*qcow2.OpenOption{{qcow2.OpenWithSnapshot("first")}, {}} {
		disk, err := qcow2.OpenChain(path, opts...)
		if err != nil {
			log.Fatal(err)
		}
		var b [1]byte
		if _, err := disk.ReadAt(b[:], 1024); err != nil {
			log.Fatal(err)
		}
		disk.Close()
		fmt.Println(b[0])
	}
	// Output:
	// 1
	// 2
}
