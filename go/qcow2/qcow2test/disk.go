// Package qcow2test gives Go tests disks to write to.
package qcow2test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// KeepVariable is the environment variable that, set to anything but the empty
// string, keeps the disks of failed tests:
//
//	bazel test --test_env=QCOW2TEST_KEEP=1 //...
//
// They are moved to the test's undeclared outputs, and outside of Bazel to the
// folder for temporary files; the test's log says where they are.
const KeepVariable = "QCOW2TEST_KEEP"

// An Option is a parameter of Disk.
type Option struct {
	generate *qcow2.GenerateOption
}

// WithSize sets the virtual size of the disk in bytes, rounded up to a
// multiple of 512. The default is that of the base.
func WithSize(size uint64) Option { return Option{qcow2.GenerateWithFileSize(size)} }

// WithFormat says what format the base has, by the name of QEMU's block
// driver. The default is what its first bytes say, which is to be trusted for
// images that no guest has written to.
func WithFormat(format string) Option { return Option{qcow2.GenerateWithBackingFormat(format)} }

// Disk returns the path of a fresh qcow2 image on top of base, which reads as
// base does and takes all that is written to it. It takes a few kilobytes and
// no time; any number of them can share a base, which stays as it is.
//
// The base is the path of a data dependency in the runfiles, as
// $(rlocationpath) gives it, or an absolute path. The disk is in a temporary
// folder of the test and gone when the test and its subtests are over, unless
// KeepVariable is set and the test has failed. If it cannot be made, t.Fatal
// says why.
func Disk(t testing.TB, base string, opts ...Option) string {
	t.Helper()
	backing, err := find(base)
	if err != nil {
		t.Fatalf("qcow2test: base %q: %v", base, err)
	}
	disk := filepath.Join(t.TempDir(), "disk.qcow2")
	if err := create(disk, backing, opts); err != nil {
		t.Fatalf("qcow2test: disk on %q: %v", base, err)
	}
	// Runs before the cleanup of t.TempDir, which was registered before.
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
		return "", fmt.Errorf("it is neither an absolute path nor found in the runfiles: %w", err)
	}
	return filepath.Abs(path)
}

func create(disk, backing string, opts []Option) error {
	// As qcow2_overlay has them by default: quick small writes.
	generate := []*qcow2.GenerateOption{
		qcow2.GenerateWithBackingFile(backing),
		qcow2.GenerateWithClusterSize(128 << 10),
		qcow2.GenerateWithExtendedL2(true),
	}
	for _, o := range opts {
		generate = append(generate, o.generate)
	}
	f, err := os.Create(disk)
	if err != nil {
		return err
	}
	if err := qcow2.Generate(f, generate...); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// keep moves the disk to where it survives the test.
func keep(t testing.TB, disk, backing string) {
	t.Helper()
	dir, err := os.MkdirTemp(os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR"), strings.ReplaceAll(t.Name(), "/", "_")+"_")
	if err != nil {
		t.Errorf("qcow2test: disk cannot be kept: %v", err)
		return
	}
	kept := filepath.Join(dir, filepath.Base(disk))
	if err := os.Rename(disk, kept); err != nil {
		t.Errorf("qcow2test: disk cannot be kept: %v", err)
		return
	}
	t.Logf("qcow2test: disk is kept as %s, on top of %s", kept, backing)
}
