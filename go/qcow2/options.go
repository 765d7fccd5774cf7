package qcow2

import (
	"errors"
	"fmt"
)

// A GenerateOption is one parameter of Generate. Each may be given once.
type GenerateOption struct {
	// name is the name of the function that made the option, for messages.
	name  string
	apply func(*params)
}

// GenerateWithFileSize sets the virtual size in bytes: the size of the disk
// that a guest sees. It is rounded up to a multiple of 512, because QEMU counts
// in whole sectors. The default is the virtual size of the backing file.
func GenerateWithFileSize(fileSize uint64) *GenerateOption {
	return &GenerateOption{"GenerateWithFileSize", func(p *params) { p.size, p.sizeGiven = fileSize, true }}
}

// GenerateWithBackingFile makes the image an overlay: data that it does not
// contain is read from the file at path. The path is stored in the image
// unchanged, and may have at most 1023 bytes. QEMU resolves a relative path
// from the directory of the overlay. If w is an *os.File, Generate does the
// same; otherwise it resolves the path from the working directory. It opens the
// file only if the size or the format is not given.
//
// A path that QEMU would take for a protocol ("nbd:…", "json:{…}", "a:b") is
// refused; "./a:b" and "file:/a" name files.
func GenerateWithBackingFile(path string) *GenerateOption {
	return &GenerateOption{"GenerateWithBackingFile", func(p *params) { p.backingFile, p.hasBackingFile = path, true }}
}

// GenerateWithBackingFormat sets the format of the backing file that the image
// records, by the name of a QEMU block driver: "raw", "qcow2", "vmdk", …, at
// most 15 bytes. The default is the format that the first bytes of the backing
// file show. The image always records a format. Without one, QEMU would probe
// the backing file, and a guest that writes to a raw file could make it look
// like another format.
func GenerateWithBackingFormat(format string) *GenerateOption {
	return &GenerateOption{"GenerateWithBackingFormat", func(p *params) { p.backingFormat, p.backingFormatGiven = format, true }}
}

// GenerateWithVersion sets the format's version: 3 (qemu-img's compat=1.1), the
// default, or 2 (compat=0.10) for readers older than 2012.
func GenerateWithVersion(version int) *GenerateOption {
	return &GenerateOption{"GenerateWithVersion", func(p *params) { p.version = version }}
}

// GenerateWithClusterSize sets the size of a cluster, the unit of allocation,
// in bytes: a power of two from [MinClusterSize] to [MaxClusterSize]. The
// default is [DefaultClusterSize].
func GenerateWithClusterSize(clusterSize uint64) *GenerateOption {
	return &GenerateOption{"GenerateWithClusterSize", func(p *params) { p.clusterSize = clusterSize }}
}

// GenerateWithExtendedL2 divides each cluster into 32 subclusters that are
// allocated separately. A small write to an overlay then copies one 32nd of a
// cluster. It needs version 3, clusters of [MinExtendedL2ClusterSize] bytes or
// more, and QEMU 5.2 or newer. The default is false.
func GenerateWithExtendedL2(extendedL2 bool) *GenerateOption {
	return &GenerateOption{"GenerateWithExtendedL2", func(p *params) { p.extendedL2 = extendedL2 }}
}

// GenerateWithLazyRefcounts lets a writer delay updates of reference counts and
// repair them after a crash. It needs version 3. The default is false.
func GenerateWithLazyRefcounts(lazyRefcounts bool) *GenerateOption {
	return &GenerateOption{"GenerateWithLazyRefcounts", func(p *params) { p.lazyRefcounts = lazyRefcounts }}
}

// GenerateWithRefcountBits sets the width of a reference count in bits: a power
// of two from 1 to 64. The default is 16; other widths need version 3.
func GenerateWithRefcountBits(refcountBits int) *GenerateOption {
	return &GenerateOption{"GenerateWithRefcountBits", func(p *params) { p.refcountBits = refcountBits }}
}

// GenerateWithCompressionType sets the compression method for later compressed
// writes to the image. The default is CompressionZlib; others need version 3.
func GenerateWithCompressionType(compressionType CompressionType) *GenerateOption {
	return &GenerateOption{"GenerateWithCompressionType", func(p *params) { p.compressionType = compressionType }}
}

// GenerateWithPreallocation sets how much is allocated from the start. The
// default is PreallocationOff. PreallocationMetadata in an image with a backing
// file needs extended L2 entries; without them the backing file would be
// hidden. It makes the file longer than the virtual size. The data is a hole if
// w is an *os.File; otherwise zeros are written.
func GenerateWithPreallocation(preallocation Preallocation) *GenerateOption {
	return &GenerateOption{"GenerateWithPreallocation", func(p *params) { p.preallocation = preallocation }}
}

// GenerateWithDataFile records an external data file. The image contains the
// metadata. The guest data is in the data file, at the guest's offsets.
// Generate does not create the data file: it must exist when the image is
// opened, with at least the image's virtual size. The option needs version 3. A
// backing file is allowed, except with GenerateWithDataFileRaw. The name may
// have at most 1023 bytes. QEMU resolves a relative name from its working
// directory, unlike a backing file name.
func GenerateWithDataFile(path string) *GenerateOption {
	return &GenerateOption{"GenerateWithDataFile", func(p *params) { p.dataFile, p.hasDataFile = path, true }}
}

// GenerateWithDataFileRaw promises that the external data file can be read as a
// raw image at any time. It needs GenerateWithDataFile, does not allow a
// backing file, and implies PreallocationMetadata, as in qemu-img. The default
// is false.
func GenerateWithDataFileRaw(dataFileRaw bool) *GenerateOption {
	return &GenerateOption{"GenerateWithDataFileRaw", func(p *params) { p.dataFileRaw = dataFileRaw }}
}

// apply sets the options in opts. An option that is given twice is an error.
func (p *params) apply(opts []*GenerateOption) error {
	seen := map[string]bool{}
	for _, opt := range opts {
		if opt == nil || opt.apply == nil {
			return errors.New("qcow2: option is nil, use one of the GenerateWith functions")
		}
		if seen[opt.name] {
			return fmt.Errorf("qcow2: %s is given twice, each option is allowed once", opt.name)
		}
		seen[opt.name] = true
		opt.apply(p)
	}
	return nil
}
