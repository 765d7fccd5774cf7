package qcow2_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuscript"
)

// TestGenerate makes an image of every size that is a power of two from 1 MiB
// to 1 PiB, and lets qemu-img check each.
func TestGenerate(t *testing.T) {
	for i := 20; i <= 50; i++ {
		t.Run(fmt.Sprintf("%d", uint64(1)<<i), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "image.qcow2")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := qcow2.Generate(f, qcow2.GenerateWithFileSize(1<<i)); err != nil {
				t.Fatal(err)
			}
			qemuimg.Must(t, "", "check", "-f", "qcow2", path)
		})
	}
}

// long reports whether the tests should be thorough rather than fast.
func long() bool { return os.Getenv(qemuscript.SeedsVariable) != "" }

// generate makes the image at path, and returns the error of Generate.
func generate(t testing.TB, path string, opts ...*qcow2.GenerateOption) error {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return qcow2.Generate(f, opts...)
}

// mustGenerate is generate, but an error ends the test.
func mustGenerate(t testing.TB, path string, opts ...*qcow2.GenerateOption) {
	t.Helper()
	if err := generate(t, path, opts...); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
}
