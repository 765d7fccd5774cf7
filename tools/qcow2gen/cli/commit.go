package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

const commitHelp = `Usage:
  qcow2gen commit [-f FMT] [-b BASE_IMG] [-d] [-p] [-q] FILE

Write the data of the image, which is qcow2, to its backing file, and empty the
image. After a kill the image has its old contents, and the command can be
repeated. Neither of them may have snapshots, bitmaps, encryption or an external
data file.

Arguments:
  -h, --help
     print this help and exit
  -f, --format FMT
     specify FILE format explicitly: qcow2
  -t, --cache CACHE_MODE
     cache mode (accepted, without effect)
  -d, --drop
     skip emptying FILE on completion
  -b, --base BASE_IMG
     image in the backing chain to commit change to
     (default: immediate backing file; implies --drop)
  -p, --progress
     display progress information
  -q, --quiet
     quiet mode (produce only error messages if any)
  FILE
     name of the image file
`

func runCommit(args []string, stdout io.Writer) error {
	c := changeArgs{}
	var base string
	var drop bool
	err := c.parse(args, []option{
		{"b", "base", true, store(&base)},
		{"d", "drop", false, set(&drop)},
		{"r", "rate-limit", true, unsupported("--rate-limit", "commit always copies at full speed")},
	})
	if err != nil {
		return err
	}
	target, err := c.base(base)
	if err != nil {
		return err
	}
	if err := c.checkQuiet(c.path, qcow2.FormatQCOW2); err != nil {
		return err
	}
	err = c.change(stdout, &target, func() error {
		return qcow2.Commit(c.path, base, drop || base != "", c.options)
	})
	if err != nil || c.quiet {
		return err
	}
	return print(stdout, "Image committed.\n")
}

// base returns the path of the layer to commit to.
func (c *changeArgs) base(name string) (string, error) {
	layers, err := qcow2.InspectChain(c.path, qcow2.FormatQCOW2)
	if err != nil {
		return "", errors.New(layerReason(err))
	}
	for i, layer := range layers[1:] {
		if name == "" || layers[i].Image.BackingFile == name || sameFile(layer.Path, name) {
			return layer.Path, nil
		}
	}
	if name == "" {
		return "", fmt.Errorf("%s: it does not have a backing file to commit to", c.file)
	}
	return "", fmt.Errorf("%s: %s is not in its backing chain", c.file, name)
}
