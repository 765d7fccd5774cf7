package qcow2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A Snapshot is an entry of the snapshot table ("Snapshots" in the
// specification): an internal snapshot with its own L1 table.
type Snapshot struct {
	ID   string // unique in the image
	Name string

	L1TableOffset uint64 // in bytes
	L1Size        uint32 // entries of the L1 table

	DateSeconds     uint32 // time of creation, in seconds since 1970
	DateNanoseconds uint32
	VMClock         uint64 // guest time since boot in nanoseconds
	VMStateSize     uint64 // in bytes; 0 for a snapshot of the disk only
	DiskSize        uint64 // virtual size in bytes
	// ICount is the number of instructions that the guest had executed, if QEMU
	// counted them; otherwise math.MaxUint64.
	ICount uint64

	extraDataSize uint32
}

// snapshotHeader is the part of an entry that has a fixed size.
type snapshotHeader struct {
	L1TableOffset   uint64
	L1Size          uint32
	IDSize          uint16
	NameSize        uint16
	DateSeconds     uint32
	DateNanoseconds uint32
	VMClock         uint64
	VMStateSize     uint32
	ExtraDataSize   uint32
}

// snapshotExtraData follows the header; ExtraDataSize says how much of it there
// is.
type snapshotExtraData struct {
	VMStateSize uint64
	DiskSize    uint64
	ICount      uint64
}

// Sizes in bytes ("Snapshots"), and limits of QEMU's opener (block/qcow2.h:
// QCOW_MAX_SNAPSHOTS, QCOW_MAX_SNAPSHOTS_SIZE, QCOW_MAX_SNAPSHOT_EXTRA_DATA).
const (
	snapshotHeaderSize       = 40
	snapshotExtraDataSize    = 24 // defined so far
	minSnapshotExtraDataV3   = 16 // up to DiskSize
	maxSnapshots             = 65536
	maxSnapshotTableBytes    = 1024 * maxSnapshots
	maxSnapshotExtraDataSize = 1024
)

// readSnapshots calls each for all entries of the snapshot table, in order. It
// returns the length of the table in bytes, and stops at the first error.
func (i *Image) readSnapshots(r io.ReaderAt, each func(s *Snapshot) error) (int64, error) {
	h := &i.Header
	if err := i.checkTable("snapshot table", h.SnapshotsOffset, uint64(h.NbSnapshots)*snapshotHeaderSize, maxSnapshots*snapshotHeaderSize); err != nil {
		return 0, err
	}
	start := int64(h.SnapshotsOffset)
	offset := start
	for n := range h.NbSnapshots {
		offset = (offset + 7) &^ 7
		s, length, err := i.readSnapshot(r, offset)
		if err != nil {
			return 0, fmt.Errorf("snapshot table entry %d: %w", n, err)
		}
		offset += length
		if offset-start > maxSnapshotTableBytes {
			return 0, fmt.Errorf("snapshot table takes %d bytes up to entry %d, QEMU allows %d", offset-start, n, maxSnapshotTableBytes)
		}
		if err := each(s); err != nil {
			return 0, err
		}
	}
	return offset - start, nil
}

// readSnapshot returns the entry at offset and its length in bytes.
func (i *Image) readSnapshot(r io.ReaderAt, offset int64) (*Snapshot, int64, error) {
	var fixed [snapshotHeaderSize + snapshotExtraDataSize]byte
	if err := readZeroPadded(r, fixed[:], offset); err != nil {
		return nil, 0, err
	}
	var h snapshotHeader
	if _, err := binary.Decode(fixed[:], binary.BigEndian, &h); err != nil {
		return nil, 0, err
	}
	if h.ExtraDataSize > maxSnapshotExtraDataSize {
		return nil, 0, fmt.Errorf("extra_data_size is %d bytes, QEMU allows %d", h.ExtraDataSize, maxSnapshotExtraDataSize)
	}
	names := make([]byte, int(h.IDSize)+int(h.NameSize))
	if err := readZeroPadded(r, names, offset+snapshotHeaderSize+int64(h.ExtraDataSize)); err != nil {
		return nil, 0, err
	}
	s := &Snapshot{
		ID:              cString(names[:h.IDSize]),
		Name:            cString(names[h.IDSize:]),
		L1TableOffset:   h.L1TableOffset,
		L1Size:          h.L1Size,
		DateSeconds:     h.DateSeconds,
		DateNanoseconds: h.DateNanoseconds,
		VMClock:         h.VMClock,
		VMStateSize:     uint64(h.VMStateSize),
		DiskSize:        i.Header.Size / sectorSize * sectorSize,
		ICount:          1<<64 - 1,
		extraDataSize:   h.ExtraDataSize,
	}
	var extra snapshotExtraData
	if _, err := binary.Decode(fixed[snapshotHeaderSize:], binary.BigEndian, &extra); err != nil {
		return nil, 0, err
	}
	if h.ExtraDataSize >= 8 {
		s.VMStateSize = extra.VMStateSize
	}
	if h.ExtraDataSize >= 16 {
		s.DiskSize = extra.DiskSize
	}
	if h.ExtraDataSize >= 24 {
		s.ICount = extra.ICount
	}
	return s, snapshotHeaderSize + int64(h.ExtraDataSize) + int64(len(names)), nil
}

// cString returns b up to the first NUL, where QEMU cuts strings off.
func cString(b []byte) string {
	for n, c := range b {
		if c == 0 {
			return string(b[:n])
		}
	}
	return string(b)
}

// readZeroPadded fills b from offset off. As in QEMU, the file reads as zeros
// after its end.
func readZeroPadded(r io.ReaderAt, b []byte, offset int64) error {
	n, err := r.ReadAt(b, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	clear(b[n:])
	return nil
}
