package qcow2

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// CreateLayer creates a qcow2 image at path that reads as the image at backing
// until something is written to it. Use it for a private writable disk on a
// shared image, which stays unchanged.
//
// The layer records the absolute path of backing and its format. The format is
// backingFormat or, if that is empty, the one that the first bytes of backing
// show. Pass the format if a guest may have written to a raw image: the guest
// decides what its first bytes show. The layer has the virtual size of backing,
// clusters of [LayerClusterSize] bytes and extended L2 entries; opts change
// these defaults. The backing file and its format are not allowed among opts.
//
// CreateLayer fails if path exists, if backing or a layer below it cannot be
// opened, or if the virtual size is 0. It leaves no file after an error.
// Formats other than raw and qcow2 are left to QEMU: such a layer and all below
// it are not opened. If backing has such a format, pass the format and
// [GenerateWithFileSize].
func CreateLayer(path, backing, backingFormat string, opts ...*GenerateOption) error {
	var err error
	if backing != "" {
		// QEMU resolves a relative name from the directory of the layer.
		backing, err = filepath.Abs(backing)
	}
	if err == nil {
		err = createLayer(path, backing, backingFormat, opts)
	}
	if err != nil {
		return &layerError{path, backing, err}
	}
	return nil
}

func createLayer(path, backing, backingFormat string, opts []*GenerateOption) error {
	p := defaultParams()
	p.clusterSize, p.extendedL2 = LayerClusterSize, LayerExtendedL2
	if err := p.apply(opts); err != nil {
		return err
	}
	if backing == "" {
		return errors.New("the backing file name is empty, a path is needed")
	}
	if p.hasBackingFile || p.backingFormatGiven {
		return errors.New("the backing file and its format are arguments of CreateLayer, not options")
	}
	format, size, err := inspectBacking(backing, backingFormat, p.sizeGiven)
	if err != nil {
		return err
	}
	p.backingFile, p.hasBackingFile = backing, true
	p.backingFormat, p.backingFormatGiven = format, true
	if !p.sizeGiven {
		p.size, p.sizeGiven = size, true
	}
	if p.size == 0 {
		return errors.New("the virtual size is 0, a disk needs at least 512 bytes")
	}

	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o666)
	if err != nil {
		return err
	}
	if err := errors.Join(p.generate(f), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// inspectBacking returns the format of the image at path, and its virtual size
// in bytes unless sizeGiven is true and the format is not supported. It opens
// the backing chain down to the first layer of an unsupported format.
func inspectBacking(path, givenFormat string, sizeGiven bool) (format string, size uint64, err error) {
	err = walkChain(path, givenFormat, openLayer, func(layer Layer, f *os.File) error {
		if format == "" {
			format, size = layer.Format, layer.VirtualSize
		}
		return f.Close()
	})
	var unsupported *unsupportedFormatError
	if !errors.As(err, &unsupported) {
		return format, size, err
	}
	if format != "" {
		return format, size, nil
	}
	if !sizeGiven {
		return "", 0, fmt.Errorf("the virtual size of a %s image must be given", unsupported.format)
	}
	return unsupported.format, 0, nil
}

// layerError is the error of CreateLayer. It names both files.
type layerError struct {
	path, backing string
	err           error
}

func (e *layerError) Error() string {
	reason := strings.TrimPrefix(e.err.Error(), "qcow2: ")
	reason = strings.TrimPrefix(reason, e.backing+": ")
	return fmt.Sprintf("qcow2: layer %s on backing file %s: %s", e.path, e.backing, reason)
}

func (e *layerError) Unwrap() error { return e.err }
