package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

const rebaseHelp = `Usage:
  qcow2gen rebase [-f FMT] [-b BACKING_FILE -F BACKING_FMT] [-u] [-c] [-U]
        [-m NUM_PARALLEL] [-p] [-q] FILE

Change the backing file of the image, which is qcow2. The contents of the disk
stay the same: the image gets a copy of all that differs in the new backing
file. Until the end the image has its old backing file, and after a kill it has
its old contents. The image must not have snapshots, bitmaps, encryption or an
external data file.

Arguments:
  -h, --help
     print this help and exit
  -f, --format FMT
     specify FILE format explicitly: qcow2
  -t, --cache CACHE, -T, --backing-cache CACHE
     cache modes (accepted, without effect)
  -b, --backing BACKING_FILE|""
     rebase onto this file (specify empty name for no backing file)
  -B, --backing-format BACKING_FMT (was -F in <=10.0, which is taken too)
     specify format for BACKING_FILE, required with -b
  -u, --backing-unsafe
     only change the recorded name; the contents change if the files differ
  -c, --compress
     compress the clusters that are written
  -U, --force-share
     also use backing files that QEMU has open for writing
  -p, --progress
     display progress information
  -q, --quiet
     quiet mode (produce only error messages if any)
  FILE
     name of the image file

Argument that qemu-img does not have:
  -m, --parallel NUM_PARALLEL
     clusters that are compressed at a time, as for convert
`

func runRebase(args []string, stdout io.Writer) error {
	c := changeArgs{}
	var backing, backingFormat *string
	var unsafe bool
	err := c.parse(args, []option{
		{"b", "backing", true, func(v string) error { backing = &v; return nil }},
		{"BF", "backing-format", true, func(v string) error { backingFormat = &v; return nil }},
		{"u", "backing-unsafe", false, set(&unsafe)},
		{"c", "compress", false, set(&c.options.Compress)},
		{"m", "parallel", true, storeWorkers(&c.options.Workers)},
		{"T", "backing-cache", true, checkCache},
	})
	if err != nil {
		return err
	}
	name, format := "", ""
	switch {
	case backing == nil && !unsafe:
		return usageError("a backing file (-b) is needed, or -u to record none")
	case backing != nil:
		name = *backing
	}
	if backingFormat != nil {
		format = *backingFormat
	}
	if name != "" {
		if err := checkBackingFormat(name, format); err != nil {
			return fmt.Errorf("%s: %w", c.file, err)
		}
	}
	if unsafe {
		return c.change(stdout, nil, func() error { return qcow2.RebaseUnsafe(c.path, name, format) })
	}
	chains := []string{c.path}
	if name != "" {
		chains = append(chains, qcow2.ResolveBackingFile(c.path, name))
	}
	for i, format := range []string{qcow2.FormatQCOW2, format}[:len(chains)] {
		if err := c.checkQuiet(chains[i], format); err != nil {
			return err
		}
	}
	return c.change(stdout, nil, func() error { return qcow2.Rebase(c.path, name, format, c.options) })
}

// changeArgs is the common part of the command lines of rebase and commit.
type changeArgs struct {
	file     string // as on the command line
	path     string
	quiet    bool
	progress bool
	shared   bool
	options  qcow2.ChangeOptions
}

// parse reads the command line with the options that both commands have, and more.
func (c *changeArgs) parse(args []string, more []option) error {
	format := qcow2.FormatQCOW2
	rest, err := parseOptions(args, append([]option{
		{"h", "help", false, func(string) error { return errHelp }},
		{"f", "format", true, store(&format)},
		{"t", "cache", true, checkCache},
		{"U", "force-share", false, set(&c.shared)},
		{"p", "progress", false, set(&c.progress)},
		{"q", "quiet", false, set(&c.quiet)},
		{"", "image-opts", false, unsupported("--image-opts", "give a file name and -f")},
		{"", "object", true, unsupported("--object", "only encryption needs it, and qcow2gen does not encrypt or decrypt images")},
	}, more...))
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usageError("want one image file name, got %d", len(rest))
	}
	c.file = rest[0]
	if format != qcow2.FormatQCOW2 {
		return fmt.Errorf("%s: format %q cannot be changed, only qcow2 can", c.file, format)
	}
	c.path, err = filePath(c.file)
	return err
}

// change runs f, which changes the image and the file at base, if it is not nil.
// QEMU must not use either of them.
func (c *changeArgs) change(stdout io.Writer, base *string, f func() error) error {
	for _, path := range []*string{&c.path, base} {
		if path == nil {
			continue
		}
		unlock, err := lockImage(*path)
		if err != nil {
			return fmt.Errorf("%s: %s", *path, reason(err))
		}
		defer unlock()
	}
	p := newProgress(stdout, c.progress && !c.quiet, 0)
	c.options.Progress = func(done, size int64) {
		p.total = uint64(size)
		p.at(done)
	}
	err := f()
	p.end(err == nil)
	var compressor *qcow2.NoCompressorError
	if errors.As(err, &compressor) {
		return fmt.Errorf("%s: this program cannot compress with %s; use @rules_qcow2//tools/qcow2gen:qcow2convert, which can", c.file, compressor.Type)
	}
	if err != nil {
		return errors.New(programReason(err))
	}
	return nil
}

// checkQuiet refuses a chain that QEMU writes to, unless -U is given.
func (c *changeArgs) checkQuiet(path, format string) error {
	layers, err := qcow2.InspectChain(path, format)
	if err != nil {
		return errors.New(layerReason(err))
	}
	for _, layer := range layers {
		f, err := os.Open(layer.Path)
		if err != nil {
			return fmt.Errorf("%s: %s", layer.Path, reason(err))
		}
		written := beingWritten(f)
		f.Close()
		if written && !c.shared {
			return fmt.Errorf("%s: QEMU has it open for writing; close it or use -U", layer.Path)
		}
	}
	return nil
}

// lockImage keeps QEMU from using an image until unlock is called.
func lockImage(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if inUse(f) || !lockLikeQEMU(f) {
		f.Close()
		return nil, errors.New("QEMU has it open and locked; close it first")
	}
	return func() { f.Close() }, nil
}
