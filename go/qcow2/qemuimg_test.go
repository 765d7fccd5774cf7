package qcow2_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// runQemuImg runs qemu-img in dir and returns its standard output, and whether
// it exited with 0.
func runQemuImg(t testing.TB, dir string, args ...string) (stdout string, ok bool) {
	t.Helper()
	result := qemuimg.Run(t, dir, args...)
	if result.Code != 0 {
		t.Logf("qemu-img %q: exit code %d: %s", args, result.Code, result.Stderr)
	}
	return result.Stdout, result.Code == 0
}

// mustQemuImg is runQemuImg where anything but success ends the test.
func mustQemuImg(t testing.TB, dir string, args ...string) string {
	t.Helper()
	return qemuimg.Must(t, dir, args...)
}

func readFile(t testing.TB, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
