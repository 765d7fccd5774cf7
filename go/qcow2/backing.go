package qcow2

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// completeFromBackingFile reads the virtual size and the backing format from
// the backing file of the image at path if they are not given. If both are
// given, it does not open the file.
func (p *params) completeFromBackingFile(path string) error {
	if !p.hasBackingFile || p.sizeGiven && p.backingFormatGiven {
		return nil
	}
	f, size, err := openLayer(ResolveBackingFile(path, p.backingFile))
	if err != nil {
		return fmt.Errorf("qcow2: cannot read %s from backing file %q: %w", p.notGiven(), p.backingFile, err)
	}
	defer f.Close()
	if !p.backingFormatGiven {
		if p.backingFormat, err = ProbeFormat(f); err != nil {
			return fmt.Errorf("qcow2: backing file %q: %w", p.backingFile, err)
		}
	}
	if !p.sizeGiven {
		if p.size, _, err = inspectDisk(f, size, p.backingFormat); err != nil {
			return fmt.Errorf("qcow2: cannot read the size from backing file %q: %w", p.backingFile, err)
		}
	}
	return nil
}

func (p *params) notGiven() string {
	switch {
	case p.sizeGiven:
		return "the format"
	case p.backingFormatGiven:
		return "the size"
	}
	return "the size and the format"
}

// ResolveBackingFile returns the path by which QEMU opens the backing file name
// that the image at path records. QEMU joins a relative name to the directory
// of path as text: it does not follow symbolic links and does not resolve "..".
func ResolveBackingFile(path, name string) string {
	if file, ok := strings.CutPrefix(name, "file:"); ok {
		return file // relative to the working directory
	}
	return ResolveDataFile(path, name)
}

// ResolveDataFile returns the path by which OpenChain opens the external data
// file name that the image at path records. It joins a relative name to the
// directory of path as text. Unlike a backing file name, the name is always a
// path: QEMU does not look for a protocol in it, not even for "file:".
func ResolveDataFile(path, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return path[:strings.LastIndexByte(path, '/')+1] + name
}

// nameOf returns the name of the file that w writes, or "" if w is not a file.
func nameOf(w io.Writer) string {
	f, ok := w.(*os.File)
	if !ok {
		return ""
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return f.Name()
}

// openLayer opens a layer for reading and returns its length in bytes. It
// refuses everything but regular files and block devices, because opening or
// reading another kind of file might never end.
func openLayer(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	return openRegular(path, info, func() (*os.File, error) { return os.Open(path) })
}

// openRegular calls open for the layer at path if info is that of a regular
// file or a block device.
func openRegular(path string, info os.FileInfo, open func() (*os.File, error)) (*os.File, int64, error) {
	if mode := info.Mode(); !mode.IsRegular() && mode&(os.ModeDevice|os.ModeCharDevice) != os.ModeDevice {
		return nil, 0, fmt.Errorf("%s is a %s, a regular file or a block device is needed", path, fileKind(mode))
	}
	f, err := open()
	if err != nil {
		return nil, 0, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, size, nil
}

func fileKind(mode os.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory"
	case mode&os.ModeNamedPipe != 0:
		return "named pipe"
	case mode&os.ModeSocket != 0:
		return "socket"
	}
	return "character device"
}

// signatures are the first bytes of a format, as QEMU's probe knows them (the
// bdrv_probe functions of block/*.c). Formats without a signature are missing.
var signatures = []struct {
	offset int
	bytes  string
	format string
}{
	{0, "QFI\xfb\x00\x00\x00\x01", "qcow"},
	{0, "QFI\xfb\x00\x00\x00\x02", FormatQCOW2},
	{0, "QFI\xfb\x00\x00\x00\x03", FormatQCOW2},
	{0, "QED\x00", "qed"},
	{0, "KDMV", "vmdk"},
	{0, "COWD", "vmdk"},
	{0, "# Disk DescriptorFile", "vmdk"},
	{0, "vhdxfile", "vhdx"},
	{0, "conectix", "vpc"},
	{0, "LUKS\xba\xbe\x00\x01", "luks"},
	{0, "WithoutFreeSpace", "parallels"},
	{0, "WithouFreSpacExt", "parallels"},
	{0, "Bochs Virtual HD Image", "bochs"},
	{64, "\x7f\x10\xda\xbe", "vdi"},
}

// ProbeFormat returns the format that the first bytes of r show, by the name of
// QEMU's block driver, or "raw" if they show none. Do not rely on it for an
// image that a guest has written to: the guest decides what the first bytes
// show.
func ProbeFormat(r io.ReaderAt) (string, error) {
	var head [128]byte
	n, err := r.ReadAt(head[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	for _, s := range signatures {
		if s.offset <= n && strings.HasPrefix(string(head[s.offset:n]), s.bytes) {
			return s.format, nil
		}
	}
	return FormatRaw, nil
}
