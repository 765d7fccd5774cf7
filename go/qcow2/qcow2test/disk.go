// Package qcow2test gives Go tests disks to write to.
package qcow2test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// An Option is a parameter of Disk.
type Option func(*options)

type options struct {
	format   string
	generate []*qcow2.GenerateOption
}

// WithSize sets the virtual size of the disk in bytes, rounded up to a
// multiple of 512. The default is the size of the base.
func WithSize(size uint64) Option {
	return func(o *options) { o.generate = append(o.generate, qcow2.GenerateWithFileSize(size)) }
}

// WithFormat sets the format of the base, by the name of QEMU's block driver.
// The default is the format that its first bytes show. Set the format if a
// guest may have written to the base: the guest decides what they show.
func WithFormat(format string) Option { return func(o *options) { o.format = format } }

// Disk creates a qcow2 image on top of base and returns its path. The disk
// reads as base until the test writes to it. It takes a few milliseconds and
// 12 KiB. Any number of disks can share a base, which stays unchanged.
//
// The base is the path of a data dependency in the runfiles, as
// $(rlocationpath) gives it, or an absolute path. The disk is in a temporary
// directory, which is removed when the test and its subtests are over. Disks of
// failed tests can be kept: see [KeepVariable]. If Disk fails, it calls t.Fatal.
// [qcow2.CreateLayer] creates the same image outside of a test.
func Disk(t testing.TB, base string, opts ...Option) string {
	t.Helper()
	backing, err := find(base)
	if err != nil {
		t.Fatalf("qcow2test: base %q: %v", base, err)
	}
	var o options
	for _, apply := range opts {
		apply(&o)
	}
	disk := filepath.Join(t.TempDir(), "disk.qcow2")
	if err := qcow2.CreateLayer(disk, backing, o.format, o.generate...); err != nil {
		t.Fatalf("qcow2test: disk on %q: %v", base, err)
	}
	// This runs before the cleanup of t.TempDir, which was registered first.
	t.Cleanup(func() {
		if t.Failed() && os.Getenv(KeepVariable) != "" {
			keep(t, disk, backing)
		}
	})
	return disk
}

// find returns the absolute path of base.
func find(base string) (string, error) {
	if filepath.IsAbs(base) {
		return base, nil
	}
	path, err := runfiles.Rlocation(base)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return "", fmt.Errorf("not an absolute path and not found in the runfiles: %w", err)
	}
	return filepath.Abs(path)
}
