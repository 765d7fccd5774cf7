package qcow2

import (
	"fmt"
	"io"
	"os"
)

// A Layer is a member of a backing chain.
type Layer struct {
	Path        string // by which QEMU opens it
	Format      string // FormatRaw, FormatFile or FormatQCOW2
	FileSize    int64  // in bytes
	VirtualSize uint64 // in bytes
	Image       *Image // nil unless Format is FormatQCOW2
}

// maxChainLength limits the work on a chain. QEMU has no limit of its own, but
// opens all layers at the same time and fails at the open-file limit.
const maxChainLength = 1000

// InspectChain returns the image at path and all layers below it, down to the
// layer without a backing file. An empty format means to probe; a layer that
// records no backing format is probed as well. InspectChain fails if QEMU could
// not open the chain. It also fails if a layer has a format other than raw or
// qcow2, is cut off a cluster or more before the end of its L1 table, is reached
// by a protocol, or is the same file as a layer above it.
func InspectChain(path, format string) ([]Layer, error) {
	var layers []Layer
	err := walkChain(path, format, openLayer, func(layer Layer, f *os.File) error {
		layers = append(layers, layer)
		return f.Close()
	})
	if err != nil {
		return nil, err
	}
	return layers, nil
}

// InspectLayer reads the header of the image at path. The format is [FormatRaw]
// or [FormatQCOW2], or "" for the format that the first bytes show.
// InspectLayer opens no other file: no backing file and no external data file.
func InspectLayer(path, format string) (*Layer, error) {
	layer, f, err := inspectLayer(path, format, openLayer)
	if err != nil {
		return nil, fmt.Errorf("qcow2: %s: %w", path, err)
	}
	return layer, f.Close()
}

// A layerOpener opens a layer for reading and returns its length in bytes.
type layerOpener func(path string) (*os.File, int64, error)

// walkChain opens the image at path and all layers below it, and calls visit
// for each. visit takes ownership of the file.
func walkChain(path, format string, open layerOpener, visit func(Layer, *os.File) error) error {
	var (
		top   = path
		paths []string
		seen  []os.FileInfo
	)
	for {
		layer, f, err := inspectLayer(path, format, open)
		if err != nil {
			return fmt.Errorf("qcow2: %s: %w", path, err)
		}
		info, err := f.Stat()
		if err != nil {
			f.Close()
			return fmt.Errorf("qcow2: %s: %w", path, err)
		}
		for i, other := range seen {
			if os.SameFile(info, other) {
				f.Close()
				return fmt.Errorf("qcow2: %s: backing chain loops, it is the same file as %s above it", path, paths[i])
			}
		}
		paths, seen = append(paths, path), append(seen, info)
		if err := visit(*layer, f); err != nil {
			return err
		}
		if layer.Image == nil || layer.Image.BackingFile == "" {
			return nil
		}
		if len(paths) == maxChainLength {
			return fmt.Errorf("qcow2: %s: backing chain is longer than the %d layers that are allowed", top, maxChainLength)
		}
		if err := checkFileName("backing file", layer.Image.BackingFile); err != nil {
			return fmt.Errorf("%w, in %s", err, path)
		}
		path = ResolveBackingFile(path, layer.Image.BackingFile)
		format = layer.Image.BackingFormat
	}
}

func inspectLayer(path, format string, open layerOpener) (*Layer, *os.File, error) {
	f, size, err := open(path)
	if err != nil {
		return nil, nil, err
	}
	if format == "" {
		format, err = ProbeFormat(f)
	}
	layer := &Layer{Path: path, Format: format, FileSize: size}
	if err == nil {
		layer.VirtualSize, layer.Image, err = inspectDisk(f, size, format)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return layer, f, nil
}

// inspectDisk returns the virtual size in bytes of the disk in r, which is size
// bytes long and has the given format, and for qcow2 its Image.
func inspectDisk(r io.ReaderAt, size int64, format string) (uint64, *Image, error) {
	switch format {
	case FormatRaw, FormatFile:
		virtualSize, err := roundUpSize(uint64(size))
		return virtualSize, nil, err
	case FormatQCOW2:
		image, err := Inspect(r, size)
		if err != nil {
			return 0, nil, err
		}
		if err := image.checkComplete(size, "L1 table", image.Header.L1TableOffset, image.L1Bytes()); err != nil {
			return 0, nil, err
		}
		return image.VirtualSize(), image, nil
	}
	return 0, nil, &unsupportedFormatError{format}
}

// unsupportedFormatError is the error for a format that this package does not
// read.
type unsupportedFormatError struct{ format string }

func (e *unsupportedFormatError) Error() string {
	return fmt.Sprintf("format %q is not supported, only %s and %s are", e.format, FormatRaw, FormatQCOW2)
}

// checkComplete refuses a file that is a cluster or more too short for the
// table named what. As in QEMU, a file may end earlier within the last cluster
// and reads as zeros after that. Where a whole cluster is missing, QEMU reads
// zeros, too, but qemu-img check calls the image corrupt: its data is lost.
func (i *Image) checkComplete(size int64, what string, offset, length uint64) error {
	if length > 0 && !i.reaches(uint64(size), offset+length) {
		return fmt.Errorf("file is cut off: it is %d bytes long, its %s ends at %d", size, what, offset+length)
	}
	return nil
}

// reaches reports whether a file of size bytes goes on to end, except for less
// than a cluster (block/qcow2-refcount.c, qcow2_inc_refcounts_imrt). Like QEMU,
// it rounds the size up to whole sectors.
func (i *Image) reaches(size, end uint64) bool {
	size = ceilDiv(size, sectorSize) * sectorSize
	return end <= size || end-size < i.ClusterSize()
}
