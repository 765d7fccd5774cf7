package qcow2

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strings"
)

// params are the parameters of a new image. The zero values of the backing file
// and the data file mean none. All other fields default to the values of
// qemu-img create.
type params struct {
	size      uint64 // virtual size in bytes
	sizeGiven bool

	backingFile        string
	hasBackingFile     bool
	backingFormat      string
	backingFormatGiven bool

	dataFile    string
	hasDataFile bool
	dataFileRaw bool

	version         int
	clusterSize     uint64 // in bytes
	extendedL2      bool
	lazyRefcounts   bool
	refcountBits    int
	compressionType CompressionType
	preallocation   Preallocation
}

// Defaults and limits. Sizes are in bytes.
const (
	// DefaultClusterSize is the cluster size of Generate, as of qemu-img create.
	DefaultClusterSize uint64 = 64 << 10
	// LayerClusterSize is the cluster size of CreateLayer and of the Bazel rule
	// qcow2_overlay.
	LayerClusterSize uint64 = 128 << 10
	// LayerExtendedL2 says that CreateLayer and the Bazel rule qcow2_overlay use
	// extended L2 entries. With subclusters of 4096 bytes, QEMU writes small
	// blocks faster and the image grows less than with any other cluster size.
	LayerExtendedL2 = true

	// MinClusterSize and MaxClusterSize are the limits of QEMU. The
	// specification has no upper limit.
	MinClusterSize uint64 = 1 << minClusterBits
	MaxClusterSize uint64 = 1 << maxClusterBits
	// MinExtendedL2ClusterSize is the smallest cluster size with extended L2
	// entries.
	MinExtendedL2ClusterSize uint64 = 1 << minClusterBitsExtendedL2
)

func defaultParams() *params {
	return &params{
		version:         3,
		clusterSize:     DefaultClusterSize,
		refcountBits:    1 << refcountOrderV2,
		compressionType: CompressionZlib,
		preallocation:   PreallocationOff,
	}
}

// clusterBits is log2 of the cluster size.
func (p *params) clusterBits() uint32 { return uint32(bits.TrailingZeros64(p.clusterSize)) }

// refcountOrder is log2 of the width of a reference count.
func (p *params) refcountOrder() uint32 { return uint32(bits.TrailingZeros(uint(p.refcountBits))) }

// l2EntrySize is the size of an L2 table entry in bytes.
func (p *params) l2EntrySize() uint64 {
	if p.extendedL2 {
		return extendedL2EntrySize
	}
	return l2EntrySize
}

// preallocated reports whether the L2 tables are written and map every cluster.
func (p *params) preallocated() bool {
	return p.preallocation == PreallocationMetadata || p.dataFileRaw
}

// check refuses values that the format or QEMU does not allow. It runs before a byte
// of the image is written and before the backing file is opened. checkSize
// checks the size, when it is known.
func (p *params) check() error {
	if !p.sizeGiven && !p.hasBackingFile {
		return errors.New("qcow2: neither size nor backing file is given, at least one of GenerateWithFileSize and GenerateWithBackingFile is needed")
	}
	if p.version != 2 && p.version != 3 {
		return fmt.Errorf("qcow2: version is %d, must be 2 or 3", p.version)
	}
	if bits.OnesCount64(p.clusterSize) != 1 || p.clusterSize < MinClusterSize || p.clusterSize > MaxClusterSize {
		return fmt.Errorf("qcow2: cluster size is %d bytes, must be a power of two from %d to %d", p.clusterSize, MinClusterSize, MaxClusterSize)
	}
	if p.refcountBits < 1 || p.refcountBits > 1<<maxRefcountOrder || bits.OnesCount(uint(p.refcountBits)) != 1 {
		return fmt.Errorf("qcow2: refcount width is %d bits, must be a power of two from 1 to %d", p.refcountBits, 1<<maxRefcountOrder)
	}
	if p.compressionType != CompressionZlib && p.compressionType != CompressionZstd {
		return fmt.Errorf("qcow2: compression type is %q, must be %q or %q", p.compressionType, CompressionZlib, CompressionZstd)
	}
	if p.preallocation != PreallocationOff && p.preallocation != PreallocationMetadata {
		return fmt.Errorf("qcow2: preallocation is %q, must be %q or %q", p.preallocation, PreallocationOff, PreallocationMetadata)
	}
	if p.extendedL2 && p.clusterSize < MinExtendedL2ClusterSize {
		return fmt.Errorf("qcow2: cluster size is %d bytes, extended L2 entries need at least %d", p.clusterSize, MinExtendedL2ClusterSize)
	}
	if p.version == 2 {
		for _, option := range []struct {
			on   bool
			name string
		}{
			{p.extendedL2, "extended L2 entries"},
			{p.lazyRefcounts, "lazy refcounts"},
			{p.refcountOrder() != refcountOrderV2, fmt.Sprintf("a refcount width of %d bits", p.refcountBits)},
			{p.compressionType != CompressionZlib, fmt.Sprintf("compression type %q", p.compressionType)},
			{p.hasDataFile, "an external data file"},
		} {
			if option.on {
				return fmt.Errorf("qcow2: version is 2, %s needs version 3", option.name)
			}
		}
	}
	if err := p.checkBacking(); err != nil {
		return err
	}
	return p.checkDataFile()
}

func (p *params) checkBacking() error {
	if !p.hasBackingFile {
		if p.backingFormatGiven {
			return fmt.Errorf("qcow2: backing format %q is given without a backing file", p.backingFormat)
		}
		return nil
	}
	if err := checkFileName("backing file", p.backingFile); err != nil {
		return err
	}
	if p.backingFormatGiven {
		if err := checkBackingFormat(p.backingFormat); err != nil {
			return err
		}
	}
	if p.preallocated() && !p.extendedL2 && !p.dataFileRaw {
		return errors.New("qcow2: preallocation is \"metadata\" with a backing file, which needs extended L2 entries: without them the backing file would be hidden")
	}
	return nil
}

func (p *params) checkDataFile() error {
	if !p.hasDataFile {
		if p.dataFileRaw {
			return errors.New("qcow2: a raw external data file is requested, but no external data file is given")
		}
		return nil
	}
	if p.dataFileRaw && p.hasBackingFile {
		return errors.New("qcow2: an image with a raw external data file cannot have a backing file")
	}
	if err := checkText("data file", p.dataFile); err != nil {
		return err
	}
	if protocol, ok := protocolOf(p.dataFile); ok {
		return fmt.Errorf("qcow2: data file name %q would be read as a path by QEMU 9.1 and newer, and as the protocol %q by older versions (put ./ in front of a relative path, and use an absolute path without file:)", p.dataFile, protocol)
	}
	return nil
}

// checkText refuses names that QEMU would not open or would cut off. what is the
// name of the field for messages.
func checkText(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("qcow2: %s name is empty, a path is needed", what)
	case len(name) > maxBackingFileSize:
		return fmt.Errorf("qcow2: %s name is %d bytes long, qcow2 allows %d", what, len(name), maxBackingFileSize)
	case strings.ContainsRune(name, 0):
		return fmt.Errorf("qcow2: %s name %q holds a NUL byte, at which QEMU would cut it off", what, name)
	}
	return nil
}

// checkFileName is checkText for a backing file name. It also refuses names that
// QEMU would not take for a file.
func checkFileName(what, name string) error {
	if err := checkText(what, name); err != nil {
		return err
	}
	if protocol, ok := protocolOf(name); ok {
		if protocol == "file" && strings.HasPrefix(name, "file:/") {
			return nil
		}
		if protocol == "file" {
			return fmt.Errorf("qcow2: %s name %q would be read by QEMU relative to its working directory, after file: only an absolute path is allowed", what, name)
		}
		return fmt.Errorf("qcow2: %s name %q would be read by QEMU as the protocol %q, only files are allowed (put ./ in front to name a file)", what, name, protocol)
	}
	return nil
}

// protocolOf returns the protocol that QEMU sees in a file name: the part
// before a colon that comes before the first slash (block.c,
// path_has_protocol).
func protocolOf(name string) (protocol string, ok bool) {
	i := strings.IndexAny(name, ":/")
	if i < 0 || name[i] != ':' {
		return "", false
	}
	return name[:i], true
}

func checkBackingFormat(format string) error {
	if format == "" {
		return errors.New("qcow2: backing format is empty, the name of a QEMU block driver is needed (raw, qcow2, …)")
	}
	if len(format) > maxBackingFormatSize {
		return fmt.Errorf("qcow2: backing format %q is %d bytes long, qcow2 allows %d", format, len(format), maxBackingFormatSize)
	}
	for _, c := range []byte(format) {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return fmt.Errorf("qcow2: backing format %q is not the name of a QEMU block driver (raw, qcow2, …: lower-case letters, digits and hyphens)", format)
		}
	}
	return nil
}

// sectorSize is the unit in bytes of QEMU's disk sizes.
const sectorSize = 512

// roundUpSize rounds a virtual size up to whole sectors, as qemu-img create
// does. QEMU would cut off the end otherwise.
func roundUpSize(size uint64) (uint64, error) {
	if size > math.MaxUint64-(sectorSize-1) {
		return 0, fmt.Errorf("qcow2: virtual size is %d bytes, which cannot be rounded up to a multiple of %d", size, sectorSize)
	}
	return (size + sectorSize - 1) / sectorSize * sectorSize, nil
}

// maxSize is the largest virtual size in bytes. Its L1 table has the largest
// size that QEMU opens.
func (p *params) maxSize() uint64 {
	return maxL1Bytes / l1EntrySize * p.l2Coverage()
}

// l2Coverage is the number of bytes of guest data that one L2 table maps.
func (p *params) l2Coverage() uint64 {
	return p.clusterSize / p.l2EntrySize() * p.clusterSize
}

// checkSize refuses sizes that QEMU would not open with these parameters.
func (p *params) checkSize() error {
	if p.size > p.maxSize() {
		return fmt.Errorf("qcow2: virtual size is %d bytes, with clusters of %d bytes%s qcow2 allows %d; use larger clusters",
			p.size, p.clusterSize, map[bool]string{true: " and extended L2 entries"}[p.extendedL2], p.maxSize())
	}
	return nil
}
