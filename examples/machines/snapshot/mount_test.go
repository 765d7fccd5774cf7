package snapshot_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A file system of 1 MiB does not take more.
func TestFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir, 0)
	err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, 2<<20), 0o666)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("2 MiB: got error %v, want %v", err, syscall.ENOSPC)
	}
}
