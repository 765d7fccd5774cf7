package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// backingFormats are the backing formats that QEMU accepts: the names of its
// block drivers (qapi/block-core.json, BlockdevDriver, QEMU 11.1).
var backingFormats = []string{
	"blkdebug", "blklogwrites", "blkreplay", "blkverify", "bochs", "cloop", "compress",
	"copy-before-write", "copy-on-read", "dmg", "file", "ftp", "ftps", "host_cdrom", "host_device",
	"http", "https", "io_uring", "iscsi", "luks", "nbd", "nfs", "null-aio", "null-co", "nvme",
	"nvme-io_uring", "parallels", "preallocate", "qcow", "qcow2", "qed", "quorum", "raw", "rbd",
	"replication", "snapshot-access", "ssh", "throttle", "vdi", "vhdx", "virtio-blk-vfio-pci",
	"virtio-blk-vhost-user", "virtio-blk-vhost-vdpa", "vmdk", "vpc", "vvfat",
}

// completeFromBackingFile takes the size and the backing format from the backing
// file if they are not given, and checks them against it if they are. It returns
// the files that the image depends on, which must not be overwritten.
func (c *createArgs) completeFromBackingFile() (inputs []string, err error) {
	backing, ok := c.values["backing_file"]
	if !ok {
		return nil, nil
	}
	if backing.text == "" {
		return nil, errors.New("backing file name is empty; give a path")
	}
	if backing.text == c.file {
		return nil, errors.New("it is its own backing file; use another name")
	}
	path := c.openedBackingFile()
	switch {
	case c.backingInfo != "":
		return []string{path, c.backingInfo}, c.readBackingInfo()
	case c.unsafe:
		return []string{path}, c.checkBackingFormat()
	}
	if !c.detectBackingFormat {
		if err := c.checkBackingFormat(); err != nil {
			return nil, err
		}
	}
	return c.openBackingChain(path)
}

// openedBackingFile is the path by which the backing file is opened.
func (c *createArgs) openedBackingFile() string {
	if c.backingPath != "" {
		return c.backingPath
	}
	return qcow2.ResolveBackingFile(c.path, c.values["backing_file"].text)
}

func (c *createArgs) checkBackingFormat() error {
	format, ok := c.values["backing_fmt"]
	if ok && format.text == "" {
		return unknownBackingFormat("")
	}
	return checkBackingFormat(c.values["backing_file"].text, format.text)
}

// checkBackingFormat checks the format of the backing file with that name.
func checkBackingFormat(name, format string) error {
	if format == "" {
		return fmt.Errorf("backing file %s needs a format; name it with -F (--backing-format): raw, qcow2, …", name)
	}
	if !slices.Contains(backingFormats, format) {
		return unknownBackingFormat(format)
	}
	return nil
}

func unknownBackingFormat(format string) error {
	return fmt.Errorf("backing format %q is not a format of QEMU; use raw, qcow2, vmdk, …", format)
}

// openBackingChain takes the size and the format from the backing file if they
// are not given. As in qemu-img, all layers must open.
func (c *createArgs) openBackingChain(path string) (inputs []string, err error) {
	format := c.values["backing_fmt"].text
	if format != "" && !opens(format) {
		return nil, fmt.Errorf("backing file %s has the format %s; qcow2gen opens only raw and qcow2, use -u and a size to leave the file closed", path, format)
	}
	if c.detectBackingFormat {
		if format, err = detectFormat(path, `set backing_format = "raw" (-F raw)`); err != nil {
			return nil, fmt.Errorf("backing file cannot be used: %w", err)
		}
	}
	layers, err := c.inspectBacking(path, format)
	if err != nil {
		return nil, fmt.Errorf("backing file cannot be used: %s", layerReason(err))
	}
	if c.detectBackingFormat {
		c.values.set("backing_fmt", layers[0].Format)
	}
	for _, layer := range layers {
		inputs = append(inputs, layer.Path)
	}
	return inputs, c.useBackingSize(layers[0].VirtualSize)
}

// detectFormat returns the format of the disk in the file at path. If the file is
// plainly not a disk, the error says so, and how to use it as a raw disk anyway.
func detectFormat(path, anyway string) (string, error) {
	format, err := qcow2.DetectFormat(path)
	if err == nil {
		return format, nil
	}
	var notDisk *qcow2.NotDiskError
	if errors.As(err, &notDisk) {
		return "", fmt.Errorf("%s; to use it as a raw disk anyway, %s", reason(err), anyway)
	}
	return "", errors.New(layerReason(err))
}

// opens reports whether qcow2gen opens images of that format.
func opens(format string) bool {
	return format == qcow2.FormatRaw || format == qcow2.FormatFile || format == qcow2.FormatQCOW2
}

// inspectBacking opens the backing file and all layers below it, and returns
// them. With --standalone-backing there must be only one.
func (c *createArgs) inspectBacking(path, format string) ([]qcow2.Layer, error) {
	if !c.standaloneBacking {
		return qcow2.InspectChain(path, format)
	}
	layer, err := qcow2.InspectLayer(path, format)
	if err != nil {
		return nil, err
	}
	if err := checkStandalone(layer); err != nil {
		return nil, err
	}
	return []qcow2.Layer{*layer}, nil
}

// checkStandalone refuses an image that needs another file.
func checkStandalone(layer *qcow2.Layer) error {
	if image := layer.Image; image != nil {
		switch {
		case image.BackingFile != "":
			return fmt.Errorf("%s: it has a backing file itself, %q; use an image without one", layer.Path, image.BackingFile)
		case image.HasDataFile():
			return fmt.Errorf("%s: its data is in another file, %q; use an image without an external data file", layer.Path, image.DataFile)
		}
	}
	return nil
}

// layerReason is reason with the name of the layer that has the error.
func layerReason(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Path + ": " + reason(err)
	}
	return reason(err)
}

// useBackingSize takes the size from the backing file if none is given.
func (c *createArgs) useBackingSize(virtualSize uint64) error {
	if !c.sizeSet {
		c.size, c.sizeSet = virtualSize, true
		return nil
	}
	if c.noShrink && roundUp(c.size, sectorSize) < virtualSize {
		return sizeTooSmall(c.size, c.values["backing_file"].text, virtualSize)
	}
	return nil
}

func sizeTooSmall(size uint64, backing string, virtualSize uint64) error {
	return fmt.Errorf("size is %d bytes, less than the virtual size of backing file %s, which is %d; use at least that, or omit the size to use exactly that",
		size, backing, virtualSize)
}

// readBackingInfo takes size and format of the backing file from the output of
// qemu-img info --output=json, or from a file that --info-output of create wrote.
func (c *createArgs) readBackingInfo() error {
	text, err := os.ReadFile(c.backingInfo)
	if err != nil {
		return fmt.Errorf("--backing-info %s: %s", c.backingInfo, reason(err))
	}
	var info struct {
		VirtualSize *uint64 `json:"virtual-size"`
		Format      *string `json:"format"`
	}
	if err := json.Unmarshal(text, &info); err != nil {
		return fmt.Errorf("--backing-info %s is not output of qemu-img info --output=json: %w", c.backingInfo, err)
	}
	if info.VirtualSize == nil {
		return fmt.Errorf("--backing-info %s does not have \"virtual-size\"", c.backingInfo)
	}
	if !c.values.has("backing_fmt") && info.Format != nil {
		c.values.set("backing_fmt", *info.Format)
	}
	if err := c.checkBackingFormat(); err != nil {
		return err
	}
	return c.useBackingSize(*info.VirtualSize)
}
