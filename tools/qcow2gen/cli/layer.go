package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// runLayer makes a private writable disk. qemu-img does not have this command:
// its create has other defaults, takes the name of the backing file relative to
// the new file, and replaces a file that exists.
func runLayer(args []string, stdout io.Writer) error {
	var (
		format string
		quiet  bool
	)
	rest, err := parseOptions(args, []option{
		{"h", "help", false, func(string) error { return errHelp }},
		{"FB", "backing-format", true, store(&format)},
		{"q", "quiet", false, set(&quiet)},
	})
	if err != nil {
		return err
	}
	if len(rest) != 2 && len(rest) != 3 {
		return usageError("want BACKING_FILE FILE [SIZE], got %d file names and sizes", len(rest))
	}
	backing, err := filePath(rest[0])
	if err != nil {
		return err
	}
	path, err := filePath(rest[1])
	if err != nil {
		return err
	}
	if format != "" && !slices.Contains(backingFormats, format) {
		return fmt.Errorf("%s: %w", rest[1], unknownBackingFormat(format))
	}
	var opts []*qcow2.GenerateOption
	if len(rest) == 3 {
		size, err := layerSize(rest[2], backing, format)
		if err != nil {
			return fmt.Errorf("%s: %w", rest[1], err)
		}
		opts = append(opts, qcow2.GenerateWithFileSize(size))
	}
	err = qcow2.CreateLayer(path, backing, format, opts...)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s: file exists; layer does not replace files, use another name or remove it", rest[1])
	}
	if err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "qcow2: "))
	}
	if quiet {
		return nil
	}
	return printLayer(stdout, rest[1], path)
}

// layerSize reads a virtual size. A size that would cut off the end of the
// backing file is an error, unless the format is one that only QEMU reads.
func layerSize(text, backing, format string) (uint64, error) {
	size, err := parseSize(text)
	if err == nil && size > math.MaxInt64 {
		err = errSizeTooLarge
	}
	if err != nil {
		return 0, fmt.Errorf("size is %q: %w", text, err)
	}
	if format != "" && !opens(format) {
		return size, nil
	}
	layer, err := qcow2.InspectLayer(backing, format)
	if err != nil {
		return 0, fmt.Errorf("backing file cannot be used: %s", layerReason(err))
	}
	if roundUp(size, sectorSize) < layer.VirtualSize {
		return 0, sizeTooSmall(size, backing, layer.VirtualSize)
	}
	return size, nil
}

// printLayer writes the line that create writes.
func printLayer(stdout io.Writer, name, path string) error {
	layer, err := qcow2.InspectLayer(path, qcow2.FormatQCOW2)
	if err != nil {
		return err
	}
	image, values := layer.Image, formatValues{}
	values["cluster_size"] = formatValue{number: image.ClusterSize()}
	values["extended_l2"] = formatValue{text: onOff(image.ExtendedL2())}
	values["size"] = formatValue{number: layer.VirtualSize}
	values["backing_file"] = formatValue{text: image.BackingFile}
	values["backing_fmt"] = formatValue{text: image.BackingFormat}
	print(stdout, values.formatting(name)) // as for create, the exit code is about the file
	return nil
}
