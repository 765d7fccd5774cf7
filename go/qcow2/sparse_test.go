package qcow2_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// TestGenerateLeavesHoles limits the space on disk by the number of structures
// that are not empty, whatever the virtual size.
func TestGenerateLeavesHoles(t *testing.T) {
	dir := t.TempDir()
	if !hasHoles(t, dir) {
		t.Skip("the file system has no holes")
	}
	for _, test := range []struct {
		name string
		opts options
		most int64 // bytes on disk
	}{
		{"20 GiB", options{qcow2.GenerateWithFileSize(20 << 30)}, 12 << 10},
		{"1 PiB", options{qcow2.GenerateWithFileSize(1 << 50)}, 12 << 10},
		{"clusters of 2 MiB", options{qcow2.GenerateWithFileSize(20 << 30), qcow2.GenerateWithClusterSize(2 << 20)}, 12 << 10},
		{"overlay", options{qcow2.GenerateWithFileSize(20 << 30), qcow2.GenerateWithBackingFile("base.raw"), raw}, 12 << 10},
		// 4 L2 tables of 64 KiB, and the structures of every image.
		{"preallocated 2 GiB", options{qcow2.GenerateWithFileSize(2 << 30), qcow2.GenerateWithPreallocation(qcow2.PreallocationMetadata)}, 384 << 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(dir, test.name)
			mustGenerate(t, path, test.opts...)
			if got := bytesOnDisk(t, path); got > test.most {
				t.Errorf("%d bytes on disk, want at most %d", got, test.most)
			}
		})
	}
}

// hasHoles reports whether the file system of dir allocates less than 1 MiB for
// a hole of that length.
func hasHoles(t *testing.T, dir string) bool {
	t.Helper()
	path := filepath.Join(dir, "hole")
	writeFile(t, path, nil)
	if err := os.Truncate(path, 1<<20); err != nil {
		t.Fatal(err)
	}
	return bytesOnDisk(t, path) < 1<<20
}

func bytesOnDisk(t *testing.T, path string) int64 {
	t.Helper()
	// Delayed allocation shows its blocks only when they are written.
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	var stat syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	return stat.Blocks * 512
}
