package qcow2_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// FuzzOpen reads, maps and compares every input that opens.
func FuzzOpen(f *testing.F) {
	addImages(f)
	f.Fuzz(readAnything)
}

// FuzzTables reads images whose only L2 table is the input.
func FuzzTables(f *testing.F) {
	const clusterSize = 16384
	skeletons := map[bool][]byte{}
	for _, extended := range []bool{false, true} {
		var b bytes.Buffer
		if err := qcow2.Generate(&b, qcow2.GenerateWithFileSize(40*clusterSize), qcow2.GenerateWithClusterSize(clusterSize), qcow2.GenerateWithExtendedL2(extended)); err != nil {
			f.Fatal(err)
		}
		image := append(b.Bytes(), make([]byte, 7*clusterSize-b.Len())...)
		binary.BigEndian.PutUint64(image[3*clusterSize:], 4*clusterSize)
		skeletons[extended] = image
	}
	entries := func(values ...uint64) []byte {
		b, _ := binary.Append(nil, binary.BigEndian, values)
		return b
	}
	f.Add(false, entries(5*clusterSize, 0, 1, 6*clusterSize|1, 1<<62|5*clusterSize))
	f.Add(true, entries(5*clusterSize, 0x0000_00f0_0000_000f, 0, 0xffff_0000_0000_0000, 1<<62|5*clusterSize, 0))
	f.Fuzz(func(t *testing.T, extended bool, table []byte) {
		image := bytes.Clone(skeletons[extended])
		copy(image[4*clusterSize:5*clusterSize], table)
		readAnything(t, image)
	})
}

// FuzzCompressed reads a compressed cluster whose data is the input.
func FuzzCompressed(f *testing.F) {
	const clusterSize = 4096
	methods := []qcow2.CompressionType{qcow2.CompressionZlib, qcow2.CompressionZstd}
	skeletons := map[bool][]byte{}
	for _, zstd := range []bool{false, true} {
		var b bytes.Buffer
		method := methods[0]
		if zstd {
			method = methods[1]
		}
		if err := qcow2.Generate(&b, qcow2.GenerateWithFileSize(clusterSize), qcow2.GenerateWithClusterSize(clusterSize), qcow2.GenerateWithCompressionType(method)); err != nil {
			f.Fatal(err)
		}
		image := append(b.Bytes(), make([]byte, 5*clusterSize-b.Len())...)
		binary.BigEndian.PutUint64(image[3*clusterSize:], 4*clusterSize)
		// The data begins in the middle of a sector and takes up to 15 more.
		binary.BigEndian.PutUint64(image[4*clusterSize:], 1<<62|15<<(62-4)|(5*clusterSize+100))
		skeletons[zstd] = append(image, make([]byte, 100)...)
	}
	f.Add(false, []byte{0x63, 0x00, 0x00})
	f.Add(false, []byte{0xed, 0xc1, 0x31, 0x01, 0x00, 0x00, 0x00, 0xc2, 0xa0, 0xf5, 0x4f, 0x6d, 0x0c, 0x1f, 0xa0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0xb7, 0x01})
	f.Add(true, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x60, 0x00, 0x0f, 0x4d, 0x00, 0x00, 0x10, 0x00, 0x00, 0x01, 0x00, 0xfb, 0x2f, 0x01, 0x02})
	f.Fuzz(func(t *testing.T, zstd bool, data []byte) {
		readAnything(t, append(bytes.Clone(skeletons[zstd]), data...))
	})
}

const (
	fuzzExtents = 200     // looked at of a disk
	fuzzBytes   = 1 << 20 // of a disk that is read as a whole
)

// readAnything checks that every error is one of this package, that memory does
// not depend on values in the image, and that different ways to read agree.
func readAnything(t *testing.T, image []byte) {
	boundAllocation(t, image, 16, 64<<20, func() { readEveryWay(t, image) })
}

func readEveryWay(t *testing.T, image []byte) {
	d, err := qcow2.Open(bytes.NewReader(image), int64(len(image)))
	if fuzzError(t, err) {
		return
	}
	piece := make([]byte, 10000)
	n, end := 0, int64(0)
	for e, err := range d.Map(0, math.MaxInt64) {
		if fuzzError(t, err) {
			break
		}
		if e.Start != end || e.Length <= 0 || e.Length > d.Size()-e.Start {
			t.Fatalf("extent %+v follows offset %d, the disk has %d bytes", e, end, d.Size())
		}
		end = e.Start + e.Length
		part := piece[:min(int64(len(piece)), e.Length)]
		_, err := d.ReadAt(part, e.Start)
		if !fuzzError(t, err) && e.Zero && !bytes.Equal(part, make([]byte, len(part))) {
			t.Fatalf("extent %+v is not zero", e)
		}
		if n++; n == fuzzExtents {
			break
		}
	}
	if d.Size() > fuzzBytes {
		return
	}
	all := make([]byte, d.Size())
	_, err = d.ReadAt(all, 0)
	var out bytes.Buffer
	_, errWrite := d.WriteTo(&out)
	if fuzzError(t, err) != fuzzError(t, errWrite) || err == nil && !bytes.Equal(out.Bytes(), all) {
		t.Fatalf("ReadAt and WriteTo differ: %v, %v", err, errWrite)
	}
	if c, errCompare := qcow2.Compare(d, d, true); fuzzError(t, errCompare) != (err != nil) || err == nil && c != (qcow2.Comparison{}) {
		t.Fatalf("the disk differs from itself: %+v, %v", c, errCompare)
	}
}

// fuzzError reports whether err is an error. It must be one of this package.
func fuzzError(t *testing.T, err error) bool {
	if err != nil && !strings.HasPrefix(err.Error(), "qcow2: ") {
		t.Fatalf("error is not this package's: %v", err)
	}
	return err != nil
}
