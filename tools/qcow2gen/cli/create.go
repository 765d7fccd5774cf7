package cli

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// createArgs is the command line of create.
type createArgs struct {
	file    string // as on the command line
	path    string // of the image: file without "file:"
	values  formatValues
	size    uint64 // virtual size in bytes, if sizeGiven; not rounded
	quiet   bool
	unsafe  bool // -u
	sizeSet bool

	// Options that qemu-img does not have, for the Bazel rule.
	detectBackingFormat bool
	backingInfo         string
	noShrink            bool
	standaloneBacking   bool
	backingPath         string // to open the backing file by; "" for its stored name
	infoOutput          string
}

func runCreate(args []string, stdout io.Writer) error {
	c, err := parseCreate(args)
	if errors.Is(err, errOptionHelp) {
		return print(stdout, optionHelp())
	}
	if err != nil {
		return err
	}
	if err := c.create(); err != nil {
		return fmt.Errorf("%s: %s", c.file, reason(err))
	}
	if !c.quiet {
		// Like qemu-img, ignore write errors: the image exists.
		print(stdout, c.values.formatting(c.file))
	}
	return nil
}

// errOptionHelp is a request for "-o help".
var errOptionHelp = errors.New("help for -o")

func parseCreate(args []string) (*createArgs, error) {
	c := &createArgs{values: formatValues{}}
	var (
		lists                  []string
		format                 = qcow2.FormatQCOW2
		backing, backingFormat *string
	)
	options := []option{ // -F is qemu-img's name for -B up to 10.0
		{"h", "help", false, func(string) error { return errHelp }},
		{"f", "format", true, store(&format)},
		{"o", "options", true, func(v string) error { lists = append(lists, v); return nil }},
		{"b", "backing", true, func(v string) error { backing = &v; return nil }},
		{"BF", "backing-format", true, func(v string) error { backingFormat = &v; return nil }},
		{"u", "backing-unsafe", false, set(&c.unsafe)},
		{"q", "quiet", false, set(&c.quiet)},
		{"", "object", true, unsupported("--object", "only encryption needs it, and qcow2gen does not encrypt images")},

		{"", "detect-backing-format", false, set(&c.detectBackingFormat)},
		{"", "backing-info", true, store(&c.backingInfo)},
		{"", "no-shrink", false, set(&c.noShrink)},
		{"", "standalone-backing", false, set(&c.standaloneBacking)},
		{"", "info-output", true, store(&c.infoOutput)},
	}
	rest, err := parseOptions(args, options)
	if err != nil {
		return nil, err
	}
	if format != qcow2.FormatQCOW2 {
		return nil, fmt.Errorf("create: format %q is not supported; use qcow2", format)
	}
	if len(rest) > 0 {
		c.file = rest[0]
		if c.path, err = filePath(c.file); err != nil {
			return nil, err
		}
	}
	items, err := parseOptionLists(lists)
	if err != nil {
		return nil, err
	}
	switch {
	case len(rest) == 0:
		return nil, usageError("the image file name is missing")
	case len(rest) > 2:
		return nil, usageError("unexpected argument %q after file name and size", rest[2])
	}
	if err := c.setValues(items, backing, backingFormat, rest[1:]); err != nil {
		return nil, fmt.Errorf("%s: %w", c.file, err)
	}
	return c, nil
}

func parseOptionLists(lists []string) ([]keyval, error) {
	list, err := joinOptionLists(lists)
	if err != nil {
		return nil, usageError("%s", err)
	}
	items, err := parseOptionList(list)
	if errors.Is(err, errHelp) {
		return nil, errOptionHelp
	}
	return items, err
}

// setValues merges -o, -b and -F. Like in qemu-img, -b and -F replace the values
// in -o.
func (c *createArgs) setValues(items []keyval, backing, backingFormat *string, size []string) error {
	for _, item := range items {
		if err := c.values.set(item.key, item.value); err != nil {
			return err
		}
	}
	if backing != nil {
		c.values.set("backing_file", *backing)
	}
	if backingFormat != nil {
		c.values.set("backing_fmt", *backingFormat)
	}
	switch sizeOption, ok := c.values["size"]; {
	case ok && len(size) > 0:
		return errors.New("the size is given twice, after the file name and in -o; give it once")
	case ok:
		c.size, c.sizeSet = sizeOption.number, true
	case len(size) > 0:
		number, err := parseSize(size[0])
		if err == nil && number > math.MaxInt64 {
			err = errSizeTooLarge
		}
		if err != nil {
			return fmt.Errorf("size is %q: %w", size[0], err)
		}
		c.size, c.sizeSet = number, true
	}
	return c.checkExtraOptions()
}

// checkExtraOptions checks the options that qemu-img does not have.
func (c *createArgs) checkExtraOptions() error {
	hasBacking := c.values.has("backing_file")
	for _, o := range []struct {
		given bool
		name  string
	}{
		{c.detectBackingFormat, "--detect-backing-format"},
		{c.backingInfo != "", "--backing-info"},
		{c.noShrink, "--no-shrink"},
		{c.standaloneBacking, "--standalone-backing"},
	} {
		if o.given && !hasBacking {
			return fmt.Errorf("%s needs a backing file (-b)", o.name)
		}
	}
	if c.detectBackingFormat {
		for _, o := range []struct {
			given bool
			name  string
		}{
			{c.values.has("backing_fmt"), "a backing format (-F)"},
			{c.unsafe, "-u, which leaves the backing file closed"},
			{c.backingInfo != "", "--backing-info, which leaves the backing file closed"},
		} {
			if o.given {
				return fmt.Errorf("--detect-backing-format cannot be used with %s; give only one of them", o.name)
			}
		}
	}
	return nil
}
