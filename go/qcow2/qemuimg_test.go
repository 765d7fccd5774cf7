package qcow2_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

// qemuImg returns the qemu-img that judges our images: Bazel's, or outside of
// Bazel the one on PATH.
func qemuImg(t testing.TB) string {
	t.Helper()
	if path, err := runfiles.Rlocation("qemu/qemu-img"); err == nil {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	path, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Fatal("qemu-img is neither in the runfiles (qemu/qemu-img) nor on PATH")
	}
	return path
}

// runQemuImg runs qemu-img in dir and returns its standard output, and whether
// it exited with 0.
func runQemuImg(t testing.TB, dir string, args ...string) (stdout string, ok bool) {
	t.Helper()
	cmd := exec.Command(qemuImg(t), args...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatalf("qemu-img %q: %v", args, err)
	}
	if err != nil {
		t.Logf("qemu-img %q: %v: %s", args, err, errs.Bytes())
	}
	return out.String(), err == nil
}

// mustQemuImg is runQemuImg where anything but success ends the test.
func mustQemuImg(t testing.TB, dir string, args ...string) string {
	t.Helper()
	out, ok := runQemuImg(t, dir, args...)
	if !ok {
		t.Fatalf("qemu-img %q failed: %s", args, out)
	}
	return out
}

func readFile(t testing.TB, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
