package qcow2test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
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
	return copySparse(from, to)
}

// copySparse copies a file. Blocks of zeros become holes: a layer with small
// scattered writes is many times longer than its data.
func copySparse(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	length, err := io.Copy(&holeWriter{file: target}, source)
	if err := errors.Join(err, target.Truncate(length), target.Close()); err != nil {
		os.Remove(to)
		return err
	}
	return nil
}

// holeWriter writes to an empty file and skips blocks of zeros.
type holeWriter struct {
	file   *os.File
	offset int64
}

// holeSize is the block size of common file systems in bytes.
const holeSize = 4096

var zeros [holeSize]byte

func (w *holeWriter) Write(b []byte) (written int, err error) {
	for len(b) > 0 && err == nil {
		block := b[:min(len(b), holeSize)]
		n := len(block)
		if !bytes.Equal(block, zeros[:n]) {
			n, err = w.file.WriteAt(block, w.offset)
		}
		b, w.offset, written = b[n:], w.offset+int64(n), written+n
	}
	return written, err
}
