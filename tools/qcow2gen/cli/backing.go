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

// backingFormats are the names that QEMU takes for a backing format: those of
// its block drivers (qapi/block-core.json, BlockdevDriver, QEMU 11.1).
var backingFormats = []string{
	"blkdebug", "blklogwrites", "blkreplay", "blkverify", "bochs", "cloop", "compress",
	"copy-before-write", "copy-on-read", "dmg", "file", "ftp", "ftps", "host_cdrom", "host_device",
	"http", "https", "io_uring", "iscsi", "luks", "nbd", "nfs", "null-aio", "null-co", "nvme",
	"nvme-io_uring", "parallels", "preallocate", "qcow", "qcow2", "qed", "quorum", "raw", "rbd",
	"replication", "snapshot-access", "ssh", "throttle", "vdi", "vhdx", "virtio-blk-vfio-pci",
	"virtio-blk-vhost-user", "virtio-blk-vhost-vdpa", "vmdk", "vpc", "vvfat",
}

// completeFromBackingFile finds the size and the backing format where they are
// not given, and checks what is given against the backing file. It returns the
// files that the image depends on, which must not be overwritten.
func (c *createArgs) completeFromBackingFile() (inputs []string, err error) {
	backing, ok := c.values["backing_file"]
	if !ok {
		return nil, nil
	}
	if backing.text == "" {
		return nil, errors.New("backing file name is empty, a path is needed")
	}
	if backing.text == c.file {
		return nil, errors.New("it is its own backing file; another name is needed")
	}
	path := qcow2.ResolveBackingFile(c.path, backing.text)
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

func (c *createArgs) checkBackingFormat() error {
	format, ok := c.values["backing_fmt"]
	if !ok {
		return fmt.Errorf("backing file %s is given without its format; -F (--backing-format) has to name it: raw, qcow2, …", c.values["backing_file"].text)
	}
	if !slices.Contains(backingFormats, format.text) {
		return fmt.Errorf("backing format %q is no format of QEMU; allowed is raw, qcow2, vmdk, …", format.text)
	}
	return nil
}

// openBackingChain takes what is not given from the backing file, all layers
// of which have to open, as in qemu-img.
func (c *createArgs) openBackingChain(path string) (inputs []string, err error) {
	format := c.values["backing_fmt"].text
	if format != "" && format != qcow2.FormatRaw && format != qcow2.FormatQCOW2 {
		return nil, fmt.Errorf("backing file %s has the format %s, which cannot be opened here, only raw and qcow2 can; with -u and a size it is not opened", path, format)
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

// inspectBacking returns the layers of the backing file, all of which open, or
// with --standalone-backing the one that it has to consist of.
func (c *createArgs) inspectBacking(path, format string) ([]qcow2.Layer, error) {
	if !c.standaloneBacking {
		return qcow2.InspectChain(path, format)
	}
	layer, err := qcow2.InspectLayer(path, format)
	if err != nil {
		return nil, err
	}
	if image := layer.Image; image != nil {
		switch {
		case image.BackingFile != "":
			return nil, fmt.Errorf("%s: it names a backing file itself, %q; allowed is an image that stands alone", path, image.BackingFile)
		case image.HasDataFile():
			return nil, fmt.Errorf("%s: its data is in another file, %q; allowed is an image that stands alone", path, image.DataFile)
		}
	}
	return []qcow2.Layer{*layer}, nil
}

// layerReason is reason with the name of the layer, which may be any below the
// image.
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
		return fmt.Errorf("size is %d bytes, less than the virtual size of backing file %s, which is %d; allowed is that and more, or no size for just that",
			c.size, c.values["backing_file"].text, virtualSize)
	}
	return nil
}

// readBackingInfo takes size and format of the backing file from what
// qemu-img info --output=json has said of it, or --info-output of create.
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
		return fmt.Errorf("--backing-info %s is not in the form of qemu-img info --output=json: %w", c.backingInfo, err)
	}
	if info.VirtualSize == nil {
		return fmt.Errorf("--backing-info %s has no \"virtual-size\", which is needed", c.backingInfo)
	}
	if !c.values.has("backing_fmt") && info.Format != nil {
		c.values.set("backing_fmt", *info.Format)
	}
	if err := c.checkBackingFormat(); err != nil {
		return err
	}
	return c.useBackingSize(*info.VirtualSize)
}
