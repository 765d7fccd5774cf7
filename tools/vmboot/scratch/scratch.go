// Package scratch makes what a machine may write to: throwaway layers over its
// disks, and UEFI variables of its own.
package scratch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// A Dir is a folder with all that one machine writes to.
type Dir struct {
	Path string
}

// New makes a folder below parent.
func New(parent string) (*Dir, error) {
	path, err := os.MkdirTemp(parent, "vm")
	if err != nil {
		return nil, err
	}
	// QEMU joins nothing to an absolute path.
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	return &Dir{path}, nil
}

// Remove removes the folder and everything in it.
func (d *Dir) Remove() error { return os.RemoveAll(d.Path) }

// layerClusterSize, in bytes, with extended L2 entries is what
// qcow2_overlay's default is.
const layerClusterSize = 128 << 10

// Layer makes an overlay of the image at base, which is format or, if that is
// empty, what its first bytes say, and returns its path and base's format.
func (d *Dir) Layer(name, base, format string) (path, baseFormat string, err error) {
	if base, err = filepath.Abs(base); err != nil {
		return "", "", err
	}
	chain, err := qcow2.InspectChain(base, format)
	if err != nil {
		return "", "", fmt.Errorf("disk %s is no image that can be opened: %w", base, err)
	}
	if chain[0].VirtualSize == 0 {
		return "", "", fmt.Errorf("disk %s is empty, a disk has at least one sector of 512 bytes", base)
	}
	baseFormat = chain[0].Format
	path = filepath.Join(d.Path, name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return "", "", err
	}
	err = errors.Join(qcow2.Generate(f,
		qcow2.GenerateWithBackingFile(base),
		qcow2.GenerateWithBackingFormat(baseFormat),
		qcow2.GenerateWithFileSize(chain[0].VirtualSize),
		qcow2.GenerateWithClusterSize(layerClusterSize),
		qcow2.GenerateWithExtendedL2(true),
	), f.Close())
	if err != nil {
		return "", "", fmt.Errorf("private layer of disk %s: %w", base, err)
	}
	return path, baseFormat, nil
}

// Copy copies the file at source and returns the copy's path.
func (d *Dir) Copy(name, source string) (string, error) {
	in, err := os.Open(source)
	if err != nil {
		return "", err
	}
	defer in.Close()
	path := filepath.Join(d.Path, name)
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, in)
	return path, errors.Join(err, out.Close())
}

// Folder makes an empty folder and returns its path.
func (d *Dir) Folder(name string) (string, error) {
	path := filepath.Join(d.Path, name)
	return path, os.Mkdir(path, 0o700)
}
