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
	// The runfiles have more than 4 MiB, which is little for the guest's memory.
	tmpfs := map[string]bool{"TEST_SRCDIR": true, "TEST_TMPDIR": os.Getenv("WANT_TMPFS") != ""}
	for folder, want := range tmpfs {
		const magic = 0x01021994
		var fs syscall.Statfs_t
		if err := syscall.Statfs(os.Getenv(folder), &fs); err != nil || (fs.Type == magic) != want {
			t.Errorf("%s is on a file system of type %x, %v; want a tmpfs: %v", folder, fs.Type, err, want)
		}
	}
	for _, folder := range []string{"/tmp", os.Getenv("TEST_TMPDIR"), os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR")} {
		if err := os.WriteFile(filepath.Join(folder, "file"), nil, 0o666); err != nil {
			t.Error(err)
		}
	}
}
