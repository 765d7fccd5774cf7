package qcow2

import (
	"errors"
	"fmt"
)

// A GenerateOption is one parameter of Generate. Each may be given once.
type GenerateOption struct {
	// name is that of the function which made the option, for messages.
	name  string
	apply func(*params)
}

// GenerateWithFileSize sets the virtual size: the size of the disk that a
// guest sees, in bytes. A size that is no multiple of 512 is rounded up to
// one, as QEMU knows whole sectors only. Without this option the image has the
// virtual size of its backing file.
func GenerateWithFileSize(fileSize uint64) *GenerateOption {
	return &GenerateOption{"GenerateWithFileSize", func(p *params) { p.size, p.sizeGiven = fileSize, true }}
}

// GenerateWithBackingFile makes the image an overlay: what it does not hold
// itself is read from the file at path, which is stored in the image as it is
// given here, at most 1023 bytes. QEMU joins a relative path to the directory
// of the overlay. Generate does the same where w is an *os.File, and takes it
// relative to the working directory where not; it reads the file only for a
// size or a format that is not given.
//
// A path that QEMU would read as a protocol ("nbd:…", "json:{…}", "a:b") is
// refused; "./a:b" and "file:/a" name files.
func GenerateWithBackingFile(path string) *GenerateOption {
	return &GenerateOption{"GenerateWithBackingFile", func(p *params) { p.backingFile, p.hasBackingFile = path, true }}
}

// GenerateWithBackingFormat sets the format of the backing file that is
// recorded in the image, by the name of a QEMU block driver: "raw", "qcow2",
// "vmdk", …, at most 15 bytes. Without this option it is what the backing
// file's first bytes say. It is recorded in any case: a reader that finds none
// would probe, and a guest that can write to a raw file decides what a probe
// finds.
func GenerateWithBackingFormat(format string) *GenerateOption {
	return &GenerateOption{"GenerateWithBackingFormat", func(p *params) { p.backingFormat, p.backingFormatGiven = format, true }}
}

// GenerateWithVersion sets the format's version: 3 (qemu-img's compat=1.1),
// the default, or 2 (compat=0.10) for readers from before 2012.
func GenerateWithVersion(version int) *GenerateOption {
	return &GenerateOption{"GenerateWithVersion", func(p *params) { p.version = version }}
}

// GenerateWithClusterSize sets the size of a cluster, the unit of allocation,
// in bytes: a power of two from 512 to 2097152. The default is 65536.
func GenerateWithClusterSize(clusterSize uint64) *GenerateOption {
	return &GenerateOption{"GenerateWithClusterSize", func(p *params) { p.clusterSize = clusterSize }}
}

// GenerateWithExtendedL2 divides each cluster into 32 subclusters that are
// allocated on their own: a small write to an overlay then copies a 32nd of a
// cluster. It needs version 3, clusters of 16384 bytes or more, and QEMU 5.2
// or newer. The default is false.
func GenerateWithExtendedL2(extendedL2 bool) *GenerateOption {
	return &GenerateOption{"GenerateWithExtendedL2", func(p *params) { p.extendedL2 = extendedL2 }}
}

// GenerateWithLazyRefcounts lets a writer put off updates of reference counts
// and repair them after a crash. It needs version 3. The default is false.
func GenerateWithLazyRefcounts(lazyRefcounts bool) *GenerateOption {
	return &GenerateOption{"GenerateWithLazyRefcounts", func(p *params) { p.lazyRefcounts = lazyRefcounts }}
}

// GenerateWithRefcountBits sets the width of a reference count in bits: a
// power of two from 1 to 64. Other widths than the default, 16, need version
// 3.
func GenerateWithRefcountBits(refcountBits int) *GenerateOption {
	return &GenerateOption{"GenerateWithRefcountBits", func(p *params) { p.refcountBits = refcountBits }}
}

// GenerateWithCompressionType sets the method that later compressed writes to
// the image use. Other methods than the default, CompressionZlib, need version
// 3.
func GenerateWithCompressionType(compressionType CompressionType) *GenerateOption {
	return &GenerateOption{"GenerateWithCompressionType", func(p *params) { p.compressionType = compressionType }}
}

// GenerateWithPreallocation sets what is allocated from the start; the default
// is PreallocationOff. PreallocationMetadata in an image with a backing file
// needs extended L2 entries, without which the backing file would be hidden.
// It makes the file as long as the virtual size; what is data is a hole where
// w is an *os.File, and zeros that are written where not.
func GenerateWithPreallocation(preallocation Preallocation) *GenerateOption {
	return &GenerateOption{"GenerateWithPreallocation", func(p *params) { p.preallocation = preallocation }}
}

// GenerateWithDataFile records an external data file: the image holds the
// metadata, and guest data is in the file of that name at the guest's own
// offsets. Generate does not make that file: it has to be there, with at least
// the image's virtual size, when the image is opened. It needs version 3 and
// excludes a backing file only with GenerateWithDataFileRaw. The name is at
// most 1023 bytes long. QEMU takes a relative one from its working directory,
// other than a backing file's.
func GenerateWithDataFile(path string) *GenerateOption {
	return &GenerateOption{"GenerateWithDataFile", func(p *params) { p.dataFile, p.hasDataFile = path, true }}
}

// GenerateWithDataFileRaw promises that the external data file can be read as
// a raw image at any time. It needs GenerateWithDataFile, no backing file, and
// implies PreallocationMetadata, as in qemu-img. The default is false.
func GenerateWithDataFileRaw(dataFileRaw bool) *GenerateOption {
	return &GenerateOption{"GenerateWithDataFileRaw", func(p *params) { p.dataFileRaw = dataFileRaw }}
}

// apply sets what opts say. An option that is given twice is an error.
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
