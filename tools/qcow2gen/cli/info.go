package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// An imageInfo is the data that info prints for one image.
type imageInfo struct {
	qcow2.Layer
	protocol   string // QEMU's driver for the file itself
	actualSize uint64 // bytes allocated on disk
}

func runInfo(args []string, stdout io.Writer) error {
	var format, output string
	var chain, shared bool
	notHere := "use only -f, -U, --output and --backing-chain"
	rest, err := parseOptions(args, []option{
		{"h", "help", false, func(string) error { return errHelp }},
		{"f", "format", true, store(&format)},
		{"", "backing-chain", false, set(&chain)},
		{"U", "force-share", false, set(&shared)},
		{"", "output", true, store(&output)},
		{"", "image-opts", false, unsupported("--image-opts", notHere)},
		{"t", "cache", true, unsupported("--cache", notHere)},
		{"", "limits", false, unsupported("--limits", notHere)},
		{"", "object", true, unsupported("--object", notHere)},
	})
	if err != nil {
		return err
	}
	write := writeHuman
	switch output {
	case "", "human":
	case "json":
		write = writeJSON
	default:
		return usageError("--output must be 'human' or 'json', not '%s'", output)
	}
	if len(rest) != 1 {
		return usageError("want one image file name, got %d", len(rest))
	}
	path, err := filePath(rest[0])
	if err != nil {
		return err
	}
	inspect := inspectOne
	if chain {
		inspect = inspectChain
	}
	infos, err := inspect(path, format)
	if err != nil {
		if chain {
			err = errors.New(layerReason(err))
		}
		return fmt.Errorf("%s: %s", path, strings.TrimPrefix(reason(err), path+": "))
	}
	return print(stdout, write(infos, chain))
}

// inspectOne describes the image at path. It does not open the backing file.
func inspectOne(path, format string) ([]imageInfo, error) {
	info, err := newImageInfo(qcow2.Layer{Path: path, Format: format})
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.FileSize, err = f.Seek(0, io.SeekEnd); err != nil {
		return nil, err
	}
	if info.Format == "" {
		if info.Format, err = qcow2.ProbeFormat(f); err != nil {
			return nil, err
		}
	}
	switch info.Format {
	case qcow2.FormatRaw, qcow2.FormatFile:
		info.VirtualSize = roundUp(uint64(info.FileSize), sectorSize)
	case qcow2.FormatQCOW2:
		if info.Image, err = qcow2.Inspect(f, info.FileSize); err != nil {
			return nil, err
		}
		info.VirtualSize = info.Image.VirtualSize()
	default:
		return nil, fmt.Errorf("format %q is not supported, only raw and qcow2 are", info.Format)
	}
	return []imageInfo{*info}, nil
}

// inspectChain describes the image at path and all images below it.
func inspectChain(path, format string) ([]imageInfo, error) {
	layers, err := qcow2.InspectChain(path, format)
	if err != nil {
		return nil, err
	}
	var infos []imageInfo
	for _, layer := range layers {
		info, err := newImageInfo(layer)
		if err != nil {
			return nil, fmt.Errorf("%s: %s", layer.Path, reason(err))
		}
		infos = append(infos, *info)
	}
	return infos, nil
}

// newImageInfo adds to layer the properties of its file in the file system.
func newImageInfo(layer qcow2.Layer) (*imageInfo, error) {
	stat, err := os.Stat(layer.Path)
	if err != nil {
		return nil, err
	}
	info := &imageInfo{Layer: layer, protocol: "file", actualSize: allocatedSize(stat)}
	switch mode := stat.Mode(); {
	case mode.IsRegular():
	case mode&os.ModeDevice != 0 && mode&os.ModeCharDevice == 0:
		info.protocol = "host_device"
	default:
		return nil, errors.New("it must be a regular file or a block device")
	}
	return info, nil
}

// fullBackingFile is the path by which QEMU would open the backing file. A name
// with a protocol does not change.
func (i *imageInfo) fullBackingFile() string {
	name := i.Image.BackingFile
	if c := strings.IndexAny(name, ":/"); c >= 0 && name[c] == ':' {
		return name
	}
	return qcow2.ResolveBackingFile(i.Path, name)
}
