package qcow2test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/sparse"
)

// KeepVariable is an environment variable. If it is not empty, the disks of
// failed tests are kept:
//
//	bazel test --test_env=QCOW2TEST_KEEP=1 //...
//
// Bazel's tests move them to their undeclared outputs; other tests move them to
// the system's directory for temporary files. The test's log has the paths.
const KeepVariable = "QCOW2TEST_KEEP"

// keep moves the disk to a directory that is there after the test.
func keep(t testing.TB, disk, backing string) {
	t.Helper()
	dir, err := os.MkdirTemp(os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR"), strings.ReplaceAll(t.Name(), "/", "_")+"_")
	if err != nil {
		t.Errorf("qcow2test: disk cannot be kept: %v", err)
		return
	}
	kept := filepath.Join(dir, filepath.Base(disk))
	if err := move(disk, kept); err != nil {
		t.Errorf("qcow2test: disk cannot be kept: %v", err)
		return
	}
	t.Logf("qcow2test: disk is kept as %s, on top of %s", kept, backing)
}

// move renames the file at from. It copies the file if to is on another file
// system, as Bazel's sandbox may have it.
func move(from, to string) error {
	err := os.Rename(from, to)
	if !errors.Is(err, syscall.EXDEV) {
		return err
	}
	// A layer with small scattered writes is many times longer than its data.
	if err := sparse.CopyFile(to, from); err != nil {
		os.Remove(to)
		return err
	}
	return nil
}
