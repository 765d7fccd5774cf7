package qcow2_test

import (
	"bytes"
	"fmt"
	"log"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// generated makes an image in memory and inspects it.
func generated(opts ...*qcow2.GenerateOption) (*qcow2.Image, *bytes.Reader) {
	var file bytes.Buffer
	if err := qcow2.Generate(&file, opts...); err != nil {
		log.Fatal(err)
	}
	r := bytes.NewReader(file.Bytes())
	image, err := qcow2.Inspect(r, r.Size())
	if err != nil {
		log.Fatal(err)
	}
	return image, r
}

// The size of the empty file depends on the clusters.
func ExampleGenerateWithClusterSize() {
	for _, clusterSize := range []uint64{4096, 65536, 2 << 20} {
		image, file := generated(qcow2.GenerateWithFileSize(20<<30), qcow2.GenerateWithClusterSize(clusterSize))
		fmt.Println(image.ClusterSize(), file.Size())
	}
	// Output:
	// 4096 94208
	// 65536 196928
	// 2097152 6291464
}

// A small write in a guest stays small in the image: a cluster has 32
// subclusters.
func ExampleGenerateWithExtendedL2() {
	image, _ := generated(
		qcow2.GenerateWithFileSize(20<<30),
		qcow2.GenerateWithClusterSize(131072),
		qcow2.GenerateWithExtendedL2(true))
	fmt.Println(image.ExtendedL2(), image.ClusterSize()/32)
	// Output: true 4096
}

// Version 2 is for old readers. It has no feature bits.
func ExampleGenerateWithVersion() {
	image, _ := generated(qcow2.GenerateWithFileSize(1<<30), qcow2.GenerateWithVersion(2))
	fmt.Println(image.Compat(), image.VirtualSize(), image.L1Bytes())
	// Output: 0.10 1073741824 16
}

func ExampleGenerateWithLazyRefcounts() {
	image, _ := generated(qcow2.GenerateWithFileSize(1<<30), qcow2.GenerateWithLazyRefcounts(true))
	fmt.Println("lazy:", image.LazyRefcounts(), "dirty:", image.Dirty(), "corrupt:", image.Corrupt())
	// Output: lazy: true dirty: false corrupt: false
}

func ExampleGenerateWithRefcountBits() {
	image, _ := generated(qcow2.GenerateWithFileSize(1<<30), qcow2.GenerateWithRefcountBits(64))
	fmt.Println(image.RefcountBits())
	// Output: 64
}

// It sets the compression method for clusters that are written later.
func ExampleGenerateWithCompressionType() {
	image, _ := generated(qcow2.GenerateWithFileSize(1<<30), qcow2.GenerateWithCompressionType(qcow2.CompressionZstd))
	fmt.Println(image.CompressionType())
	// Output: zstd
}

// All tables exist from the start, without data.
func ExampleGenerateWithPreallocation() {
	_, file := generated(qcow2.GenerateWithFileSize(64<<20), qcow2.GenerateWithPreallocation(qcow2.PreallocationMetadata))
	result, err := qcow2.Check(file, file.Size())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.AllocatedClusters, "of", result.TotalClusters, "clusters")
	// Output: 1024 of 1024 clusters
}

// Guest data goes to a separate file, which must exist before a guest starts.
// With data_file_raw, that file is a raw image.
func ExampleGenerateWithDataFile() {
	image, _ := generated(
		qcow2.GenerateWithFileSize(1<<30),
		qcow2.GenerateWithDataFile("disk.raw"),
		qcow2.GenerateWithDataFileRaw(true))
	fmt.Println(image.HasDataFile(), image.DataFileRaw(), image.HasBitmaps(), image.DataFile)
	// Output: true true false disk.raw
}
