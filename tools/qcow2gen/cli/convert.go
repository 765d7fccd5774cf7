package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// convertArgs is the command line of convert.
type convertArgs struct {
	source           string // as on the command line
	sourceFormat     string
	snapshot         string
	shared           bool // -U
	standaloneSource bool

	target       createArgs
	format       string // of the target
	compress     bool
	keepZeros    bool // -S 0
	noCreate     bool
	targetIsZero bool
	sync         bool // -t other than unsafe
	workers      int  // 0 for the default
	progress     bool
}

func runConvert(args []string, stdin io.Reader, stdout io.Writer) error {
	c, err := parseConvert(args)
	if errors.Is(err, errOptionHelp) {
		return print(stdout, optionHelp())
	}
	if err != nil {
		return err
	}
	return c.convert(stdin, stdout)
}

func parseConvert(args []string) (*convertArgs, error) {
	c := &convertArgs{target: createArgs{values: formatValues{}}, format: qcow2.FormatRaw}
	t := &c.target
	var (
		lists                  []string
		backing, backingFormat *string
	)
	options := []option{ // -B is qemu-img's name for -b up to 10.0
		{"h", "help", false, func(string) error { return errHelp }},
		{"f", "source-format", true, store(&c.sourceFormat)},
		{"O", "target-format", true, store(&c.format)},
		{"o", "target-format-options", true, func(v string) error { lists = append(lists, v); return nil }},
		{"bB", "backing", true, func(v string) error { backing = &v; return nil }},
		{"F", "backing-format", true, func(v string) error { backingFormat = &v; return nil }},
		{"c", "compress", false, set(&c.compress)},
		{"l", "snapshot", true, store(&c.snapshot)},
		{"n", "no-create", false, set(&c.noCreate)},
		{"", "target-is-zero", false, set(&c.targetIsZero)},
		{"S", "sparse-size", true, c.setSparseSize},
		{"m", "parallel", true, storeWorkers(&c.workers)},
		{"t", "target-cache", true, c.setTargetCache},
		{"T", "source-cache", true, checkCache},
		{"U", "force-share", false, set(&c.shared)},
		{"p", "progress", false, set(&c.progress)},
		{"q", "quiet", false, set(&t.quiet)},
		// How QEMU copies, which does not change the result.
		{"W", "oob-writes", false, ignore},
		{"C", "copy-range-offloading", false, ignore},
		{"r", "rate-limit", true, unsupported("--rate-limit", "convert always copies at full speed")},
		{"", "bitmaps", false, unsupported("--bitmaps", "convert copies only the guest's data")},
		{"", "skip-broken-bitmaps", false, unsupported("--skip-broken-bitmaps", "convert copies only the guest's data")},
		{"", "salvage", false, unsupported("--salvage", "use qemu-img for a damaged image")},
		{"", "image-opts", false, unsupported("--image-opts", "give a file name and -f")},
		{"", "target-image-opts", false, unsupported("--target-image-opts", "give a file name and -O")},
		{"", "object", true, unsupported("--object", "only encryption needs it, and qcow2gen does not encrypt or decrypt images")},

		{"", "standalone-source", false, set(&c.standaloneSource)},
		{"", "backing-path", true, store(&t.backingPath)},
		{"", "backing-info", true, store(&t.backingInfo)},
		{"", "detect-backing-format", false, set(&t.detectBackingFormat)},
		{"", "standalone-backing", false, set(&t.standaloneBacking)},
		{"", "info-output", true, store(&t.infoOutput)},
	}
	rest, err := parseOptions(args, options)
	if err != nil {
		return nil, err
	}
	items, err := parseOptionLists(lists)
	if err != nil {
		return nil, err
	}
	switch {
	case len(rest) < 2:
		return nil, usageError("want the names of a source and a target, got %d names", len(rest))
	case len(rest) > 2:
		return nil, usageError("want one source and a target, got %d names; convert does not join several sources", len(rest))
	}
	c.source, t.file = rest[0], rest[1]
	if t.path, err = filePath(t.file); err != nil {
		return nil, err
	}
	if err := t.setValues(items, backing, backingFormat, nil); err != nil {
		return nil, fmt.Errorf("%s: %w", t.file, err)
	}
	if err := c.check(lists); err != nil {
		return nil, fmt.Errorf("%s: %w", t.file, err)
	}
	return c, nil
}

// rawOptions are the format options of a raw target.
var rawOptions = []string{"size", "preallocation", "nocow", "extent_size_hint"}

// check refuses options that contradict each other.
func (c *convertArgs) check(lists []string) error {
	values := c.target.values
	hasBacking := values.has("backing_file")
	switch c.format {
	case qcow2.FormatRaw:
		switch {
		case hasBacking:
			return errors.New("a raw image does not have a backing file; use -O qcow2")
		case c.compress:
			return errors.New("a raw image is not compressed; use -O qcow2")
		case values["preallocation"].text == string(qcow2.PreallocationMetadata):
			return errors.New("option preallocation is \"metadata\", which a raw image does not have; use off")
		}
		for name := range values {
			if !slices.Contains(rawOptions, name) {
				return fmt.Errorf("option %s is not an option of raw images; use -O qcow2", name)
			}
		}
	case qcow2.FormatQCOW2:
		switch {
		case values["data_file"].text != "":
			return errors.New("option data_file is not supported by convert; use create")
		case values["preallocation"].text == string(qcow2.PreallocationMetadata):
			return errors.New("option preallocation is \"metadata\", which convert does not support; use off")
		}
	default:
		return fmt.Errorf("target format %q is not supported; use -O raw or -O qcow2", c.format)
	}
	switch {
	case values.has("backing_fmt") && !hasBacking:
		return errors.New("a backing format (-F) needs a backing file (-b)")
	case c.target.backingPath != "" && !hasBacking:
		return errors.New("--backing-path needs a backing file (-b)")
	case c.targetIsZero && !c.noCreate:
		return errors.New("--target-is-zero needs -n: a new target is always zero")
	case !c.noCreate:
		return nil
	case len(lists) > 0:
		return errors.New("-o has no effect with -n, which does not create the target; give only one of them")
	case hasBacking:
		return errors.New("-b has no effect with -n, which does not create the target; give only one of them")
	case c.target.infoOutput != "":
		return errors.New("--info-output needs a new target; omit -n")
	}
	return nil
}

// setSparseSize reads -S. Only 0 changes the target: it then stores all zeros.
// The unit in which convert looks for zeros is a cluster or a subcluster of a
// qcow2 image, and 4096 bytes of a raw image.
func (c *convertArgs) setSparseSize(text string) error {
	size, err := parseSize(text)
	if err == nil && (size%sectorSize != 0 || size > 16<<20) {
		err = errors.New("use a multiple of 512 up to 16M, or 0 to store zeros like other data")
	}
	if err != nil {
		return usageError("-S is %q: %s", text, err)
	}
	c.keepZeros = size == 0
	return nil
}

// storeWorkers returns the use function of -m.
func storeWorkers(target *int) func(string) error {
	return func(text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 16 {
			return usageError("-m is %q; use a number from 1 to 16", text)
		}
		*target = n
		return nil
	}
}

func (c *convertArgs) setTargetCache(mode string) error {
	c.sync = mode != "unsafe"
	return checkCache(mode)
}

// checkCache reads a cache mode of QEMU. qcow2gen always uses the system's cache.
func checkCache(mode string) error {
	if !slices.Contains([]string{"none", "off", "directsync", "writeback", "unsafe", "writethrough"}, mode) {
		return usageError("cache mode is %q; use none, directsync, writeback, writethrough or unsafe", mode)
	}
	return nil
}

func ignore(string) error { return nil }
