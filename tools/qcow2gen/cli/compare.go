package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

const compareHelp = `Usage:
  qcow2gen compare [-f FMT] [-F FMT] [-s] [-U] [-q] FILE1 FILE2

Check if two images have the same contents.

Exit codes: 0 the contents are the same, 1 they differ, 2 a file cannot be
opened or the command line is wrong, 3 a table cannot be read, 4 contents
cannot be read.

Arguments:
  -h, --help
     print this help and exit
  -f, --a-format FMT
     specify FILE1 image format explicitly: raw or qcow2
     (default: the format that its first bytes show)
  -F, --b-format FMT
     specify FILE2 image format explicitly: raw or qcow2
     (default: the format that its first bytes show)
  -s, --strict
     strict mode, also check if sizes and allocation are equal
  -U, --force-share
     open images in shared mode for concurrent access (always on)
  -q, --quiet
     quiet mode (produce only error messages if any)
  FILE1, FILE2
     names of the image files to compare
`

// errDifferent ends the program without an error message: different images are
// a result.
var errDifferent = errors.New("images differ")

// Exit codes of compare.
const (
	exitDifferent     = 1
	exitCannotCompare = 2
	exitBadTable      = 3
	exitCannotRead    = 4
)

func runCompare(args []string, stdout io.Writer) error {
	var formats [2]string
	var strict, quiet, shared bool
	const notHere = "use only -f, -F, -s, -U and -q"
	rest, err := parseOptions(args, []option{
		{"h", "help", false, func(string) error { return errHelp }},
		{"f", "a-format", true, store(&formats[0])},
		{"F", "b-format", true, store(&formats[1])},
		{"s", "strict", false, set(&strict)},
		{"U", "force-share", false, set(&shared)},
		{"q", "quiet", false, set(&quiet)},
		{"p", "progress", false, unsupported("--progress", notHere)},
		{"T", "cache", true, unsupported("--cache", notHere)},
		{"", "image-opts", false, unsupported("--image-opts", notHere)},
		{"", "object", true, unsupported("--object", notHere)},
	})
	if err == nil && len(rest) != 2 {
		err = usageError("want two image file names, got %d", len(rest))
	}
	if errors.Is(err, errHelp) {
		return err
	}
	if err != nil {
		return &exitError{code: exitCannotCompare, error: err}
	}
	var disks [2]*qcow2.Disk
	for i, name := range rest {
		if disks[i], err = openDisk(name, formats[i]); err != nil {
			return &exitError{code: exitCannotCompare, error: err}
		}
		defer disks[i].Close()
	}
	comparison, err := qcow2.Compare(disks[0], disks[1], strict)
	if err != nil {
		return compareFailure(err)
	}
	if !quiet {
		if err := print(stdout, comparisonText(comparison)); err != nil {
			return &exitError{code: exitCannotCompare, error: err}
		}
	}
	if comparison.Result != qcow2.Identical {
		return errDifferent
	}
	return nil
}

func comparisonText(c qcow2.Comparison) string {
	text := ""
	if c.SizesDiffer {
		text = "Warning: Image size mismatch!\n"
	}
	switch c.Result {
	case qcow2.ContentMismatch:
		return text + fmt.Sprintf("Content mismatch at offset %d!\n", c.Offset)
	case qcow2.SizeMismatch:
		return text + "Strict mode: Image size mismatch!\n"
	case qcow2.StatusMismatch:
		return text + fmt.Sprintf("Strict mode: Offset %d block status mismatch!\n", c.Offset)
	}
	return text + "Images are identical.\n"
}

func compareFailure(err error) error {
	code := exitBadTable
	var failure *qcow2.CompareError
	if errors.As(err, &failure) && failure.Read {
		code = exitCannotRead
	}
	return &exitError{code: code, error: errors.New(programReason(err))}
}
