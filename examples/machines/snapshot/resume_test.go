package snapshot_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/vm/vmtest"
)

// Each machine has its own files and random numbers.
func TestResume(t *testing.T) {
	first, second := vmtest.Start(t, os.Getenv("BOOTED")), vmtest.Start(t, os.Getenv("BOOTED"))

	const uuid = "/proc/sys/kernel/random/uuid"
	if a, b := first.ReadFile(uuid), second.ReadFile(uuid); bytes.Equal(a, b) {
		t.Errorf("both machines drew %s", a)
	}

	first.WriteFile("/file", []byte("first"))
	second.WriteFile("/file", []byte("second"))
	if got := first.ReadFile("/file"); string(got) != "first" {
		t.Errorf("/file of the first machine has %q", got)
	}
}
