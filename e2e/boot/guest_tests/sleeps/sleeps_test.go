package sleeps_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSleeps(t *testing.T) {
	if err := os.WriteFile(filepath.Join(os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR"), "file"), []byte("before the time-out\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Hour)
}
