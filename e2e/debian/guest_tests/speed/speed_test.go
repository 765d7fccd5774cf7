// Package speed_test is measured: a test with files, or with output.
package speed_test

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

var (
	folder = flag.String("folder", "", "a `folder` that must have -files")
	files  = flag.Int("files", 0, "number of files")
	output = flag.Int("output", 0, "MiB to write to standard output")
)

func TestSpeed(t *testing.T) {
	if *files > 0 {
		last := *files - 1
		if _, err := os.ReadFile(filepath.Join(*folder, strconv.Itoa(last%100), strconv.Itoa(last))); err != nil {
			t.Error(err)
		}
	}
	block := make([]byte, 1<<20)
	for range *output {
		if _, err := os.Stdout.Write(block); err != nil {
			t.Fatal(err)
		}
	}
}
