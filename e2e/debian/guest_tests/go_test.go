// Package guest_tests_test runs in guests of both architectures.
package guest_tests_test

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

func TestArchitecture(t *testing.T) {
	if want := os.Getenv("WANT_ARCH"); runtime.GOARCH != want {
		t.Errorf("got %s, want %s", runtime.GOARCH, want)
	}
	if _, err := os.ReadFile("data.txt"); err != nil {
		t.Error(err)
	}
	var fs syscall.Statfs_t
	const tmpfs = 0x01021994
	if err := syscall.Statfs(os.Getenv("TEST_TMPDIR"), &fs); err != nil || os.Getenv("WANT_TMPFS") != "" && fs.Type != tmpfs {
		t.Errorf("TEST_TMPDIR is on a file system of type %x, %v; want a tmpfs", fs.Type, err)
	}
	for _, folder := range []string{"/tmp", os.Getenv("TEST_TMPDIR"), os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR")} {
		if err := os.WriteFile(filepath.Join(folder, "file"), nil, 0o666); err != nil {
			t.Error(err)
		}
	}
}
