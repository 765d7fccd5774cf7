// Package holes_test has a test whose result depends on the kernel.
package holes_test

import (
	"os"
	"runtime"
	"syscall"
	"testing"
)

// seekHole is SEEK_HOLE of lseek(2).
const seekHole = 4

// The kernel finds the hole at the end of a file.
func TestHoles(t *testing.T) {
	t.Log("GOARCH:", runtime.GOARCH)
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		t.Logf("kernel: %s", release)
	}
	f, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const data, size = 1 << 20, 1 << 30
	if _, err := f.Write(make([]byte, data)); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if hole, err := syscall.Seek(int(f.Fd()), 0, seekHole); err != nil || hole != data {
		t.Errorf("the hole begins at %d, %v; want %d", hole, err, data)
	}
}
