package qcow2_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// seeds calls run with the seeds of a test: n of them, or with QCOW2_LONG_RUN
// as many as there is time for, after those n.
func seeds(t *testing.T, n uint64, run func(t *testing.T, seed uint64)) {
	deadline := time.Now()
	if long() {
		d, err := time.ParseDuration(os.Getenv(longRun))
		if err != nil {
			t.Fatalf("%s: %v", longRun, err)
		}
		deadline = deadline.Add(d)
	}
	t.Run("seeds", func(t *testing.T) {
		for seed := uint64(0); seed < n; seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				run(t, seed)
			})
		}
	})
	for seed := n; time.Now().Before(deadline) && !t.Failed(); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { run(t, seed) })
	}
}

// TestCheckScripts compares with qemu-img check on images that QEMU has made
// by random scripts, key for key.
func TestCheckScripts(t *testing.T) {
	seeds(t, 25, func(t *testing.T, seed uint64) {
		s := newScript(t, seed, t.TempDir(), "image")
		for range 6 {
			s.step(t)
		}
		compareCheck(t, s.dir, s.name)
	})
}

// compareCheck compares Check with qemu-img check on an image that is none
// that a corruptor has touched.
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

// checkJSON returns what result is as JSON.
func checkJSON(t *testing.T, result *qcow2.CheckResult) map[string]any {
	t.Helper()
	b, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	return qemuJSON(t, string(b))
}

// checkKeys drops the keys that are not about the check's result.
func checkKeys(check map[string]any) map[string]any {
	delete(check, "filename")
	delete(check, "format")
	return check
}
