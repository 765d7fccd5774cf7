package qcow2_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// exampleChain makes overlay.qcow2 on top of base.raw, and returns the
// directory of both.
func exampleChain() string {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	base := make([]byte, 1<<20)
	copy(base, "first sector")
	if err := os.WriteFile(filepath.Join(dir, "base.raw"), base, 0o666); err != nil {
		log.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "overlay.qcow2"))
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	if err := qcow2.Generate(f, qcow2.GenerateWithBackingFile("base.raw"), qcow2.GenerateWithBackingFormat(qcow2.FormatRaw), qcow2.GenerateWithFileSize(2<<20)); err != nil {
		log.Fatal(err)
	}
	return dir
}

// A disk is an io.ReaderAt for the contents that a guest sees. All layers must
// be in the root directory.
func ExampleOpenChain() {
	dir := exampleChain()
	defer os.RemoveAll(dir)

	disk, err := qcow2.OpenChain(filepath.Join(dir, "overlay.qcow2"), qcow2.OpenWithRoot(dir))
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	sector := make([]byte, 12)
	if _, err := disk.ReadAt(sector, 0); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d bytes, the first are %q\n", disk.Size(), sector)
	// Output: 2097152 bytes, the first are "first sector"
}

// WriteTo makes a raw file of a whole chain. Zeros become holes.
func ExampleDisk_WriteTo() {
	dir := exampleChain()
	defer os.RemoveAll(dir)

	disk, err := qcow2.OpenChain(filepath.Join(dir, "overlay.qcow2"))
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	f, err := os.Create(filepath.Join(dir, "disk.raw"))
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	n, err := disk.WriteTo(f)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n, "bytes")
	// Output: 2097152 bytes
}

func ExampleDisk_Map() {
	dir := exampleChain()
	defer os.RemoveAll(dir)

	disk, err := qcow2.OpenChain(filepath.Join(dir, "overlay.qcow2"))
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	for extent, err := range disk.Map(0, disk.Size()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%7d: %7d bytes of layer %d, zero: %t\n", extent.Start, extent.Length, extent.Depth, extent.Zero)
	}
	// Output:
	//       0: 1048576 bytes of layer 1, zero: false
	// 1048576: 1048576 bytes of layer 0, zero: true
}

func ExampleCompare() {
	dir := exampleChain()
	defer os.RemoveAll(dir)

	var disks []*qcow2.Disk
	for _, name := range []string{"overlay.qcow2", "base.raw"} {
		disk, err := qcow2.OpenChain(filepath.Join(dir, name))
		if err != nil {
			log.Fatal(err)
		}
		defer disk.Close()
		disks = append(disks, disk)
	}
	c, err := qcow2.Compare(disks[0], disks[1], false)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("identical:", c.Result == qcow2.Identical, "sizes differ:", c.SizesDiffer)
	// Output: identical: true sizes differ: true
}
