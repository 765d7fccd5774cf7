// Command corrupting is a generator with a defect: the header cluster of its
// images has a reference count of zero.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/tools/qcow2gen/cli"
	"github.com/rules-qcow2/rules_qcow2/tools/qcow2gen/worker"
)

func main() {
	os.Exit(worker.Main(os.Args, os.Stdin, os.Stdout, os.Stderr, run))
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if code := cli.Main(args, stdin, stdout, stderr); code != 0 || args[1] != "create" {
		return code
	}
	image := slices.IndexFunc(args, func(arg string) bool {
		return strings.HasSuffix(arg, ".qcow2") && !strings.HasPrefix(arg, "-")
	})
	if err := corrupt(args[image]); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func corrupt(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	// The header's refcount_table_offset, and the table's first entry.
	block := int64(48)
	for range 2 {
		var offset [8]byte
		if _, err := f.ReadAt(offset[:], block); err != nil {
			return err
		}
		block = int64(binary.BigEndian.Uint64(offset[:]))
	}
	_, err = f.WriteAt([]byte{0, 0}, block)
	return err
}
