package qcow2

// The structures of the file, named as in the specification: QEMU's
// docs/interop/qcow2, cited below by section. All integers are big-endian.

// Header is the image header ("Header" in the specification), byte for byte. A
// version 2 header ends after SnapshotsOffset. Inspect fills in the later
// fields with the values that readers assume for version 2.
type Header struct {
	Magic                 uint32 // "QFI\xfb"
	Version               uint32 // 2 or 3
	BackingFileOffset     uint64 // in bytes; 0 without a backing file
	BackingFileSize       uint32 // length of the backing file name in bytes
	ClusterBits           uint32 // log2 of the cluster size in bytes
	Size                  uint64 // virtual size in bytes
	CryptMethod           uint32 // 0 none, 1 AES, 2 LUKS
	L1Size                uint32 // entries of the active L1 table
	L1TableOffset         uint64 // in bytes
	RefcountTableOffset   uint64 // in bytes
	RefcountTableClusters uint32
	NbSnapshots           uint32
	SnapshotsOffset       uint64 // in bytes

	// Version 3 only.
	IncompatibleFeatures uint64
	CompatibleFeatures   uint64
	AutoclearFeatures    uint64
	RefcountOrder        uint32 // log2 of the width of a reference count in bits
	HeaderLength         uint32 // in bytes
	// CompressionType is present if HeaderLength exceeds 104.
	CompressionType uint8 // 0 deflate, 1 zstd
	Padding         [7]byte
}

const (
	magic = 0x514649fb // "QFI\xfb"

	headerLengthV2    = 72  // length of a version 2 header
	minHeaderLengthV3 = 104 // shortest version 3 header: up to HeaderLength
	headerLengthV3    = 112 // written by Generate and qemu-img

	// The range that QEMU opens; the specification sets no upper bound.
	minClusterBits = 9
	maxClusterBits = 21
	// An extended L2 entry describes 32 subclusters of at least 512 bytes.
	minClusterBitsExtendedL2 = 14

	maxBackingFileSize   = 1023 // "must be less than 1024 bytes"
	maxBackingFormatSize = 15   // QEMU reads it into a buffer of 16 bytes

	refcountOrderV2  = 4
	maxRefcountOrder = 6

	// The limits of QEMU's opener (block/qcow2.h: QCOW_MAX_L1_SIZE,
	// QCOW_MAX_REFTABLE_SIZE).
	maxL1Bytes            = 32 << 20
	maxRefcountTableBytes = 8 << 20

	// The largest file that QEMU reads (include/block/block-common.h:
	// BDRV_MAX_LENGTH).
	maxFileLength = 1<<63 - 1<<30
)

// Values of CryptMethod.
const (
	cryptNone uint32 = iota
	cryptAES
	cryptLUKS
)

// Bits of IncompatibleFeatures.
const (
	incompatDirty uint64 = 1 << iota
	incompatCorrupt
	incompatDataFile
	incompatCompression
	incompatExtendedL2

	incompatKnown = incompatDirty | incompatCorrupt | incompatDataFile |
		incompatCompression | incompatExtendedL2
)

// Bit of CompatibleFeatures.
const compatLazyRefcounts uint64 = 1 << 0

// Bits of AutoclearFeatures.
const (
	autoclearBitmaps uint64 = 1 << iota
	autoclearDataFileRaw
)

// Header extension types ("Header extensions").
const (
	extensionEnd            uint32 = 0x00000000
	extensionBackingFormat  uint32 = 0xe2792aca
	extensionFeatureNames   uint32 = 0x6803f857
	extensionBitmaps        uint32 = 0x23852875
	extensionFullEncryption uint32 = 0x0537be77
	extensionDataFile       uint32 = 0x44415441
)

// Feature types in the feature name table.
const (
	featureIncompatible uint8 = iota
	featureCompatible
	featureAutoclear
)

// featureName is an entry of the feature name table ("Feature name table").
type featureName struct {
	Type uint8
	Bit  uint8
	Name [46]byte
}

// featureNames is the feature name table of qemu-img, in its order.
var featureNames = []struct {
	kind uint8
	bit  uint8
	name string
}{
	{featureIncompatible, 0, "dirty bit"},
	{featureIncompatible, 1, "corrupt bit"},
	{featureIncompatible, 2, "external data file"},
	{featureIncompatible, 3, "compression type"},
	{featureIncompatible, 4, "extended L2 entries"},
	{featureCompatible, 0, "lazy refcounts"},
	{featureAutoclear, 0, "bitmaps"},
	{featureAutoclear, 1, "raw external data"},
}

// smallestClusterWithFeatureNames is the smallest cluster size in bytes for
// which qemu-img writes the feature name table. In smaller clusters the table
// would leave too little space for the backing file name.
const smallestClusterWithFeatureNames = 8192

// Sizes in bytes of table entries ("Host cluster management", "L1 table
// entry", "L2 table entry", "Extended L2 Entries").
const (
	refcountTableEntrySize = 8
	l1EntrySize            = 8
	l2EntrySize            = 8
	extendedL2EntrySize    = 16
)

// Bits of L1 and L2 table entries ("L1 table entry", "L2 table entry").
const (
	// entryCopied says that the cluster at the offset in the entry has a
	// reference count of exactly one.
	entryCopied     uint64 = 1 << 63
	entryCompressed uint64 = 1 << 62 // L2 entries
	entryZero       uint64 = 1 << 0  // L2 entries, unless they are extended

	entryOffset     uint64 = 0x00fffffffffffe00
	l1EntryReserved uint64 = 0x7f000000000001ff
	l2EntryReserved uint64 = 0x3f000000000001fe // in one that is not compressed
)

// Bits of refcount table entries ("Refcount table entry").
const (
	refcountTableEntryOffset   uint64 = 0xfffffffffffffe00
	refcountTableEntryReserved uint64 = 0x00000000000001ff
)

// subclusterAlloc is the half of a subcluster bitmap that marks allocated
// subclusters. The other half marks subclusters that read as zeros ("Extended
// L2 Entries").
const subclusterAlloc uint64 = 1<<32 - 1

// A CompressionType is the compression method of an image's clusters, by
// qemu-img's name.
type CompressionType string

const (
	CompressionZlib CompressionType = "zlib" // deflate; the default
	CompressionZstd CompressionType = "zstd" // needs version 3 and QEMU 5.1 or newer
)

// compressionTypes lists the values of the header field compression_type: the
// index is the value.
var compressionTypes = []CompressionType{CompressionZlib, CompressionZstd}

// A Preallocation says how much of a new image is allocated, by qemu-img's
// name.
type Preallocation string

const (
	PreallocationOff      Preallocation = "off"      // nothing; the default
	PreallocationMetadata Preallocation = "metadata" // all tables; data clusters are holes
)

// Format names, as QEMU's block drivers use them.
const (
	FormatRaw   = "raw"
	FormatFile  = "file" // the protocol below raw; reads as raw
	FormatQCOW2 = "qcow2"
)
