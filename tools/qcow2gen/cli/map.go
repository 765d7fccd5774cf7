package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

const mapHelp = `Usage:
  qcow2gen map [-f FMT]
        [--start-offset OFFSET] [--max-length LENGTH]
        [--output human|json] [-U] FILE

Dump image metadata.

Arguments:
  -h, --help
     print this help and exit
  -f, --format FMT
     specify FILE image format explicitly: raw or qcow2
     (default: the format that its first bytes show)
  -s, --start-offset OFFSET
     start at the given OFFSET in the image, not at the beginning
  -l, --max-length LENGTH
     process at most LENGTH bytes instead of up to the end of the image
  --output human|json
     specify output format name (default: human)
  -U, --force-share
     open image in shared mode for concurrent access (always on)
  FILE
     name of the image file
`

func runMap(args []string, stdout io.Writer) error {
	var format, output, start, length string
	var shared bool
	const notHere = "use only -f, -s, -l, -U and --output"
	rest, err := parseOptions(args, []option{
		{"h", "help", false, func(string) error { return errHelp }},
		{"f", "format", true, store(&format)},
		{"s", "start-offset", true, store(&start)},
		{"l", "max-length", true, store(&length)},
		{"U", "force-share", false, set(&shared)},
		{"", "output", true, store(&output)},
		{"", "image-opts", false, unsupported("--image-opts", notHere)},
		{"", "object", true, unsupported("--object", notHere)},
	})
	if err != nil {
		return err
	}
	write := writeHumanMap
	switch output {
	case "", "human":
	case "json":
		write = writeJSONMap
	default:
		return usageError("--output must be 'human' or 'json', not '%s'", output)
	}
	from, err := parseOffset("--start-offset", start, 0)
	if err != nil {
		return err
	}
	atMost, err := parseOffset("--max-length", length, math.MaxInt64)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usageError("want one image file name, got %d", len(rest))
	}
	disk, err := openDisk(rest[0], format)
	if err != nil {
		return err
	}
	defer disk.Close()
	// Like qemu-img, write the extents before an error.
	out := bufio.NewWriter(stdout)
	err = write(out, disk, from, atMost)
	return errors.Join(err, out.Flush())
}

// parseOffset reads the value of an option that takes up to 2^63-1 bytes. It
// returns missing if the value is empty.
func parseOffset(option, value string, missing int64) (int64, error) {
	if value == "" {
		return missing, nil
	}
	n, err := parseSize(value)
	if err == nil && n > math.MaxInt64 {
		err = fmt.Errorf("it must be at most %d bytes", int64(math.MaxInt64))
	}
	if err != nil {
		return 0, fmt.Errorf("%s is %q: %w", option, value, err)
	}
	return int64(n), nil
}

// openDisk opens an image and its backing chain. If format is empty, it probes
// the first bytes.
func openDisk(name, format string, opts ...*qcow2.OpenOption) (*qcow2.Disk, error) {
	path, err := filePath(name)
	if err != nil {
		return nil, err
	}
	// QEMU shows "file:a:b" as "./a:b" (block.c,
	// bdrv_parse_filename_strip_prefix).
	if i := strings.IndexAny(path, ":/"); i >= 0 && path[i] == ':' {
		path = "./" + path
	}
	if format != "" {
		opts = append(opts, qcow2.OpenWithFormat(format))
	}
	disk, err := qcow2.OpenChain(path, opts...)
	if err != nil {
		return nil, errors.New(layerReason(err))
	}
	return disk, nil
}

func writeJSONMap(w io.Writer, disk *qcow2.Disk, start, length int64) error {
	separator := "["
	write := func(e qcow2.Extent) {
		fmt.Fprintf(w, `%s{ "start": %d, "length": %d, "depth": %d, "present": %t, "zero": %t, "data": %t, "compressed": %t`,
			separator, e.Start, e.Length, e.Depth, e.Present, e.Zero, e.Data, e.Compressed)
		if e.HasOffset {
			fmt.Fprintf(w, `, "offset": %d`, e.Offset)
		}
		fmt.Fprint(w, "}")
		separator = ",\n"
	}
	empty := true
	for e, err := range disk.Map(start, length) {
		if err != nil {
			return err
		}
		empty = false
		write(e)
	}
	if empty {
		write(qcow2.Extent{Start: start}) // qemu-img always has one
	}
	_, err := fmt.Fprint(w, "]\n")
	return err
}

// writeHumanMap lists the extents that have data at an offset of a file.
func writeHumanMap(w io.Writer, disk *qcow2.Disk, start, length int64) error {
	fmt.Fprintf(w, "%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File")
	for e, err := range disk.Map(start, length) {
		if err != nil {
			return err
		}
		if e.Data && !e.HasOffset {
			return errors.New("file contains compressed clusters, which do not have an offset to show; use --output=json")
		}
		if e.Data && !e.Zero {
			fmt.Fprintf(w, "%-16s%-16s%-16s%s\n", hex(e.Start), hex(e.Length), hex(e.Offset), e.File)
		}
	}
	return nil
}

// hex writes a number as C's printf does with "%#x".
func hex(n int64) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%#x", n)
}
