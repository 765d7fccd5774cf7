package qcow2_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuscript"
)

// TestCheckRandomImages compares with qemu-img check, key for key, on images
// that QEMU made by random scripts. See qemuscript.Seeds for a long run.
func TestCheckRandomImages(t *testing.T) {
	qemuscript.Seeds(t, 25, func(t *testing.T, seed uint64) {
		s := newScript(t, seed, t.TempDir(), "image")
		for range 6 {
			s.step(t)
		}
		compareCheck(t, s.dir, s.name)
	})
}

// compareCheck compares Check with qemu-img check on an image that was not
// damaged.
func compareCheck(t *testing.T, dir, name string) {
	t.Helper()
	result := qemuimg.Run(t, dir, "check", "-f", "qcow2", "--output=json", name)
	ours, err := checkFile(t, filepath.Join(dir, name))
	if err != nil {
		t.Fatalf("Check: %v; qemu-img check exits with %d: %s%s", err, result.Code, result.Stdout, result.Stderr)
	}
	if got, want := checkJSON(t, ours), checkKeys(qemuJSON(t, result.Stdout)); !reflect.DeepEqual(got, want) {
		t.Errorf("Check says     %v\nqemu-img check %v\n%q\n%s", got, want, ours.Problems, result.Stderr)
	}
}

func checkFile(t *testing.T, path string) (*qcow2.CheckResult, error) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return qcow2.Check(f, info.Size())
}

// checkJSON returns result as JSON.
func checkJSON(t *testing.T, result *qcow2.CheckResult) map[string]any {
	t.Helper()
	b, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	return qemuJSON(t, string(b))
}

// checkKeys removes the keys that are not part of the result.
func checkKeys(check map[string]any) map[string]any {
	delete(check, "filename")
	delete(check, "format")
	return check
}
