package qcow2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// An Encryption says how an image is encrypted.
type Encryption struct {
	Format string // "aes", QEMU's old format, or "luks"
	LUKS   *LUKS  // nil unless Format is "luks"
}

// A LUKS is the header of a LUKS volume, version 1. Names are QEMU's.
type LUKS struct {
	CipherAlgorithm string // with the length of its key in bits: "aes-256"
	CipherMode      string // "xts"
	IVGenerator     string // "plain64"
	IVGeneratorHash string // "" if IVGenerator needs none
	HashAlgorithm   string // "sha256"
	UUID            string
	PayloadOffset   uint64 // in bytes from the start of the header
	MasterKeyIters  uint32 // iterations of PBKDF2
	Slots           [8]LUKSSlot
}

// A LUKSSlot holds the master key under one passphrase.
type LUKSSlot struct {
	Active    bool
	Iters     uint32 // iterations of PBKDF2
	KeyOffset uint64 // in bytes from the start of the header
	Stripes   uint32
}

// luksHeader is the "partition header" of the LUKS On-Disk Format
// Specification, version 1.2.3.
type luksHeader struct {
	Magic              [6]byte
	Version            uint16
	CipherName         [32]byte
	CipherMode         [32]byte // with the generator of initialization vectors: "xts-plain64"
	HashSpec           [32]byte
	PayloadOffset      uint32 // in sectors
	KeyBytes           uint32
	MKDigest           [20]byte
	MKDigestSalt       [32]byte
	MKDigestIterations uint32
	UUID               [40]byte
	KeySlots           [8]struct {
		Active            uint32
		Iterations        uint32
		Salt              [32]byte
		KeyMaterialOffset uint32 // in sectors
		Stripes           uint32
	}
}

const (
	luksMagic      = "LUKS\xba\xbe"
	luksVersion    = 1
	luksKeyEnabled = 0x00ac71f3
)

// readEncryption fills in i.Encryption.
func (i *Image) readEncryption(r io.ReaderAt) error {
	switch i.Header.CryptMethod {
	case cryptAES:
		i.Encryption = &Encryption{Format: "aes"}
	case cryptLUKS:
		luks, err := i.readLUKS(r)
		if err != nil {
			return err
		}
		i.Encryption = &Encryption{Format: "luks", LUKS: luks}
	}
	return nil
}

func (i *Image) readLUKS(r io.ReaderAt) (*LUKS, error) {
	var h luksHeader
	raw := make([]byte, binary.Size(&h))
	if err := readZeroPadded(r, raw, int64(min(i.cryptoHeader.Offset, maxFileLength))); err != nil {
		return nil, err
	}
	if _, err := binary.Decode(raw, binary.BigEndian, &h); err != nil {
		return nil, err
	}
	if string(h.Magic[:]) != luksMagic || h.Version != luksVersion {
		return nil, errors.New("encryption header is not a LUKS header of version 1")
	}
	// "mode-generator" or "mode-generator:hash".
	mode, generator, ok := strings.Cut(cString(h.CipherMode[:]), "-")
	if !ok {
		return nil, fmt.Errorf("encryption header has the cipher mode %q without a generator of initialization vectors", mode)
	}
	generator, hash, _ := strings.Cut(generator, ":")
	keyBits := 8 * uint64(h.KeyBytes)
	if mode == "xts" {
		keyBits /= 2 // the key is two keys
	}
	luks := &LUKS{
		CipherAlgorithm: fmt.Sprintf("%s-%d", cString(h.CipherName[:]), keyBits),
		CipherMode:      mode,
		IVGenerator:     generator,
		IVGeneratorHash: hash,
		HashAlgorithm:   cString(h.HashSpec[:]),
		UUID:            cString(h.UUID[:]),
		PayloadOffset:   sectorSize * uint64(h.PayloadOffset),
		MasterKeyIters:  h.MKDigestIterations,
	}
	for n, slot := range h.KeySlots {
		luks.Slots[n] = LUKSSlot{
			Active:    slot.Active == luksKeyEnabled,
			Iters:     slot.Iterations,
			KeyOffset: sectorSize * uint64(slot.KeyMaterialOffset),
			Stripes:   slot.Stripes,
		}
	}
	return luks, nil
}
