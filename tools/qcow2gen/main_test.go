package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// TestCompareZstd compares images whose clusters are compressed with zstd.
func TestCompareZstd(t *testing.T) {
	dir := t.TempDir()
	contents := strings.Repeat("some words that can be compressed, ", 20000)
	for name, b := range map[string]string{"a.raw": contents, "b.raw": contents[:300000] + "X" + contents[300001:]} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(b), 0o666); err != nil {
			t.Fatal(err)
		}
		qemuimg.Must(t, dir, "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", name, name+".qcow2")
	}
	for _, images := range [][]string{{"a.raw.qcow2", "a.raw"}, {"a.raw.qcow2", "b.raw.qcow2"}, {"b.raw", "b.raw.qcow2"}} {
		args := []string{"compare", filepath.Join(dir, images[0]), filepath.Join(dir, images[1])}
		want := qemuimg.Run(t, dir, args...)
		if got := qcow2gen(args...); got != want {
			t.Errorf("compare %q: %+v, qemu-img has %+v", images, got, want)
		}
	}
}
