package qcow2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// DetectFormat returns the format of the disk in the file at path: FormatQCOW2 if
// its first bytes say so, otherwise FormatRaw. It fails with a *NotDiskError if
// the file is plainly something else, such as an archive or a page of a web
// server: QEMU would take that for a raw disk. It opens no other file.
func DetectFormat(path string) (string, error) {
	f, size, err := openLayer(path)
	if err != nil {
		return "", fmt.Errorf("qcow2: %s: %w", path, err)
	}
	defer f.Close()
	format, err := ProbeFormat(f)
	if err != nil {
		return "", fmt.Errorf("qcow2: %s: %w", path, err)
	}
	if format == FormatQCOW2 {
		return format, nil
	}
	what, advice, err := notDisk(f, size, path)
	if err != nil {
		return "", fmt.Errorf("qcow2: %s: %w", path, err)
	}
	if what != "" {
		return "", &NotDiskError{path, what, advice}
	}
	return FormatRaw, nil
}

// A NotDiskError says that a file is plainly not a raw or qcow2 disk.
type NotDiskError struct {
	Path   string
	What   string // the kind of the file, as a clause: "it is a gzip file"
	Advice string // the remedy
}

func (e *NotDiskError) Error() string {
	return fmt.Sprintf("qcow2: %s: %s; %s", e.Path, e.What, e.Advice)
}

// Kinds of advice for a file that is not a disk.
const (
	adviceUnpack   = "unpack it first, for example in a genrule"
	adviceExtract  = "extract the disk from it first, for example in a genrule"
	adviceConvert  = "convert it with qemu-img convert"
	adviceDownload = "the download of the disk probably failed, so check its URL and its checksum"
	adviceLFS      = "run git lfs pull"
)

// notDisks are the signatures of files that are not disks. A signature must not
// match a disk with a boot sector, a file system, a volume or a user's own data.
var notDisks = []struct {
	offset int64 // in bytes; from the end of the file if it is negative
	bytes  string
	what   string
	advice string
}{
	{0, "\x1f\x8b\x08", "a gzip file", adviceUnpack},            // RFC 1952, section 2.3.1, with deflate
	{0, "\xfd7zXZ\x00", "an xz file", adviceUnpack},             // The .xz File Format, section 2.1.1.1
	{0, "\x28\xb5\x2f\xfd", "a zstd file", adviceUnpack},        // RFC 8878, section 3.1.1
	{0, "\x04\x22\x4d\x18", "an lz4 file", adviceUnpack},        // LZ4 Frame Format, "General Structure"
	{0, "\x02\x21\x4c\x18", "an lz4 file", adviceUnpack},        // LZ4 Frame Format, "Legacy frame"
	{0, "7z\xbc\xaf\x27\x1c", "a 7-Zip archive", adviceExtract}, // 7zFormat.txt, "SignatureHeader"
	{0, "PK\x03\x04", "a zip archive", adviceExtract},           // APPNOTE.TXT, section 4.3.7
	{0, "PK\x05\x06", "an empty zip archive", adviceExtract},    // APPNOTE.TXT, section 4.3.16

	// The first line of a pointer (Git LFS, docs/spec.md, "The Pointer").
	{0, "version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS", adviceLFS},
	{0, "version https://git-lfs.github.com/spec/v1\r\n", "a pointer of Git LFS", adviceLFS},

	// As in signatures, which ProbeFormat uses.
	{0, "QFI\xfb\x00\x00\x00\x01", "an image of the format qcow, version 1", adviceConvert},
	{0, "QED\x00", "a QED image", adviceConvert},
	{0, "KDMV", "a VMDK image", adviceConvert},
	{0, "COWD", "a VMDK image", adviceConvert},
	{0, "# Disk DescriptorFile", "the descriptor of a VMDK image", adviceConvert},
	{0, "vhdxfile", "a VHDX image", adviceConvert},
	{0, "conectix", "a VHD image", adviceConvert},
	{0, "WithoutFreeSpace", "a Parallels image", adviceConvert},
	{0, "WithouFreSpacExt", "a Parallels image", adviceConvert},
	{0, "Bochs Virtual HD Image", "a Bochs image", adviceConvert},
	{64, "\x7f\x10\xda\xbe", "a VDI image", adviceConvert},

	// The footer of a VHD image without a header: cookie, features, version
	// (Virtual Hard Disk Image Format Specification, "Hard Disk Footer Format").
	{-512, "conectix\x00\x00\x00\x02\x00\x01\x00\x00", "a VHD image", adviceConvert},
	// The trailer of UDIF: signature, version, size (UDIFResourceFile in libdmg).
	{-512, "koly\x00\x00\x00\x04\x00\x00\x02\x00", "a DMG image", adviceConvert},
}

// notDisk says what the file f at path is if it is plainly not a raw disk, and
// what to do. f is size bytes long. what is "" for a disk.
func notDisk(f io.ReaderAt, size int64, path string) (what, advice string, err error) {
	if size == 0 {
		return "it is empty", adviceDownload, nil
	}
	head, tail := make([]byte, min(size, 1024)), make([]byte, min(size, 512))
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return "", "", err
	}
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return "", "", err
	}
	for _, s := range notDisks {
		b, offset := head, s.offset
		if offset < 0 {
			b, offset = tail, int64(len(tail))+offset
		}
		if offset >= 0 && offset <= int64(len(b)) && bytes.HasPrefix(b[offset:], []byte(s.bytes)) {
			return "it is " + s.what, s.advice, nil
		}
	}
	switch {
	case isBzip2(head):
		return "it is a bzip2 file", adviceUnpack, nil
	case isTar(head):
		if name := cString(head[:100]); strings.HasSuffix(name, ".ovf") {
			return "it is an OVA archive", adviceExtract, nil
		}
		return "it is a tar archive", adviceExtract, nil
	case isMarkup(head):
		return "it is an HTML or XML page", adviceDownload, nil
	}
	switch suffix := strings.ToLower(filepath.Ext(path)); suffix {
	case ".qcow2", ".qcow":
		return fmt.Sprintf("its name ends in %s, but it is not a qcow2 image", suffix), "check how it was made, or rename it", nil
	}
	return "", "", nil
}

// isBzip2 reports whether b begins with the header of a stream, and the magic
// number of a block or of the end of the stream (bzip2's decompress.c).
func isBzip2(b []byte) bool {
	return len(b) >= 10 && string(b[:3]) == "BZh" && b[3] >= '1' && b[3] <= '9' &&
		(string(b[4:10]) == "\x31\x41\x59\x26\x53\x59" || string(b[4:10]) == "\x17\x72\x45\x38\x50\x90")
}

// isTar reports whether b begins with a header of POSIX or GNU tar whose checksum
// is right (POSIX.1-2017, pax, "ustar Interchange Format").
func isTar(b []byte) bool {
	const magic, checksum, size = 257, 148, 512
	if len(b) < size || string(b[magic:magic+6]) != "ustar\x00" && string(b[magic:magic+6]) != "ustar " {
		return false
	}
	sum := 8 * int(' ') // the field itself counts as spaces
	for i, c := range b[:size] {
		if i < checksum || i >= checksum+8 {
			sum += int(c)
		}
	}
	var recorded int
	_, err := fmt.Sscanf(strings.TrimLeft(cString(b[checksum:checksum+8]), " "), "%o", &recorded)
	return err == nil && recorded == sum
}

// isMarkup reports whether b begins with an HTML or XML declaration, after a byte
// order mark and white space.
func isMarkup(b []byte) bool {
	b = bytes.TrimLeft(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), " \t\r\n")
	for _, start := range []string{"<!doctype html", "<html", "<?xml"} {
		if len(b) >= len(start) && strings.EqualFold(string(b[:len(start)]), start) {
			return true
		}
	}
	return false
}
