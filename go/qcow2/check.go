package qcow2

import (
	"errors"
	"fmt"
	"io"
)

// A CheckResult is the result of Check. The counts and their names are those of
// qemu-img check --output=json, which leaves out zeros.
type CheckResult struct {
	// Corruptions are errors that may damage data, or lead a writer to do so.
	Corruptions uint64 `json:"corruptions,omitempty"`
	// Leaks are clusters whose reference count is higher than the number of
	// references to them: lost space, but no damage to data.
	Leaks uint64 `json:"leaks,omitempty"`
	// CheckErrors counts clusters whose reference count cannot be read. If it
	// is not zero, the check is not complete.
	CheckErrors uint64 `json:"check-errors"`

	// ImageEndOffset is the offset in bytes after the last cluster in use.
	ImageEndOffset uint64 `json:"image-end-offset,omitempty"`
	// TotalClusters is the virtual size in clusters.
	TotalClusters uint64 `json:"total-clusters,omitempty"`
	// AllocatedClusters counts clusters of the virtual disk that have an offset
	// in the file, with or without data.
	AllocatedClusters uint64 `json:"allocated-clusters,omitempty"`
	// FragmentedClusters do not directly follow the allocated cluster before
	// them in the same L2 table. A compressed cluster always counts.
	FragmentedClusters uint64 `json:"fragmented-clusters,omitempty"`
	CompressedClusters uint64 `json:"compressed-clusters,omitempty"`

	// Problems describes what Corruptions, Leaks and CheckErrors count, one
	// sentence each for the first 100.
	Problems []string `json:"-"`
}

// maxProblems limits the memory for Problems.
const maxProblems = 100

// Check recomputes the reference count of every cluster of the qcow2 image in
// r, which is size bytes long, and compares it with the recorded one. It reads
// everything that refers to clusters: tables, snapshots, bitmaps and an
// encryption header. The verdict is that of qemu-img check. Check reads only
// metadata, and no other file: the backing file and the external data file need
// not exist.
//
// An image that QEMU could not check is an error: QEMU does not open its
// header, or its snapshot table or bitmap directory is damaged. An error of r
// is returned unchanged.
//
// Memory and time depend on the allocated clusters. In a damaged image,
// L2 tables at offsets that are not a multiple of the cluster size count as
// corrupt and are not read.
func Check(r io.ReaderAt, size int64) (*CheckResult, error) {
	image, err := inspectForCheck(r, size)
	if err != nil {
		return nil, err
	}
	fileSize, err := roundUpSize(uint64(size))
	if err != nil {
		return nil, err
	}
	c := &checker{
		r:           r,
		image:       image,
		size:        fileSize,
		clusterBits: image.Header.ClusterBits,
		clusterSize: image.ClusterSize(),
		clusters:    ceilDiv(fileSize, image.ClusterSize()),
	}
	c.refcounts = newRefcountReader(r, image)
	c.result.TotalClusters = ceilDiv(image.Header.Size/sectorSize*sectorSize, c.clusterSize)
	if err := c.run(); err != nil {
		return nil, err
	}
	return &c.result, nil
}

// checker is the state of a Check.
type checker struct {
	r     io.ReaderAt
	image *Image
	size  uint64 // of the file in bytes, rounded up to sectors as QEMU does

	clusterBits uint32
	clusterSize uint64 // in bytes

	// clusters is the number of clusters in the file, or more if there are
	// references after its end.
	clusters uint64
	// references are the references found to each cluster.
	references clusterCounts
	// refcounts are the reference counts that the image has.
	refcounts *refcountReader

	result CheckResult
}

func (c *checker) run() error {
	if c.image.Header.AutoclearFeatures&autoclearDataFileRaw != 0 && !c.image.HasDataFile() {
		return errors.New("raw external data bit is set without an external data file")
	}
	if err := c.readRefcountTable(); err != nil {
		return err
	}
	c.refer("header", 0, c.clusterSize, 1)
	if err := c.checkMappings(); err != nil {
		return err
	}
	c.refer("refcount table", c.image.Header.RefcountTableOffset, uint64(c.image.Header.RefcountTableClusters)<<c.clusterBits, 1)
	if err := c.checkEncryptionHeader(); err != nil {
		return err
	}
	if err := c.checkBitmaps(); err != nil {
		return err
	}
	c.checkRefcountBlocks()
	return c.compareRefcounts()
}

// refer counts n references to each cluster with a part of the length bytes at
// offset. what names the referrer.
func (c *checker) refer(what string, offset, length, n uint64) {
	if length == 0 || !c.withinFile(what, offset, length, n) {
		return
	}
	c.referToClusters(offset>>c.clusterBits, (offset+length-1)>>c.clusterBits+1, n)
}

// referToClusters counts n references to each cluster from first to before end.
func (c *checker) referToClusters(first, end, n uint64) {
	for cluster := first; cluster < end; cluster++ {
		c.references.add(cluster, n)
	}
	c.clusters = max(c.clusters, end)
}

// withinFile counts n corruptions if the range ends a cluster or more after the
// end of the file. The last cluster need not be complete.
func (c *checker) withinFile(what string, offset, length, n uint64) bool {
	if end := offset + length; end >= offset && c.image.reaches(c.size, end) {
		return true
	}
	c.corrupt(n, "%s: %d bytes at offset %d are beyond the end of the file", what, length, offset)
	return false
}

// checkEncryptionHeader counts the clusters of a LUKS header. It does not read
// keys and digests.
func (c *checker) checkEncryptionHeader() error {
	if c.image.Header.CryptMethod != cryptLUKS {
		return nil
	}
	if _, err := c.image.readLUKS(c.r); err != nil {
		return err
	}
	c.refer("encryption header", c.image.cryptoHeader.Offset, c.image.cryptoHeader.Length, 1)
	return nil
}

// corrupt counts n corruptions.
func (c *checker) corrupt(n uint64, format string, args ...any) {
	c.result.Corruptions += n
	c.problem(n, "ERROR "+format, args)
}

func (c *checker) leak(format string, args ...any) {
	c.result.Leaks++
	c.problem(1, "Leaked "+format, args)
}

func (c *checker) checkError(n uint64, format string, args ...any) {
	c.result.CheckErrors += n
	c.problem(n, "ERROR "+format, args)
}

func (c *checker) problem(n uint64, format string, args []any) {
	if n > 0 && len(c.result.Problems) < maxProblems {
		c.result.Problems = append(c.result.Problems, fmt.Sprintf(format, args...))
	}
}
