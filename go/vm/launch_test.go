package vm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
)

// TestDiskOfDetectedFormat has a file that is plainly not a disk. With a format it
// is one.
func TestDiskOfDetectedFormat(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "disk.img")
	if err := os.WriteFile(path, []byte("<!DOCTYPE html>"), 0o666); err != nil {
		t.Fatal(err)
	}
	l := &launch{config: &machine.Config{}, dir: dir}
	err := l.addLayer(Layer{Path: filepath.Join(dir, "layer")}, machine.Disk{Path: path})
	if err == nil {
		t.Fatal("a page is accepted as a disk")
	}
	for _, part := range []string{path + ": it is an HTML or XML page; ", `backing_format = "raw"`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not contain %q", err, part)
		}
	}
	if err := l.addLayer(Layer{Path: filepath.Join(dir, "layer")}, machine.Disk{Path: path, Format: "raw"}); err != nil {
		t.Error(err)
	}
}
