// Package failures_test runs boot tests whose guests crash or hang.
package failures_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

func TestPanic(t *testing.T) {
	t.Parallel()
	fails(t, "panics", "240",
		`//failures:panics: console matched fail_on pattern "Kernel panic - not syncing": "[`,
		`Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100"`,
		`waiting for "never"`,
		"  | guest: running",
	)
}

// Bazel's timeout limits the test. The console at that time depends on the machine's
// speed.
func TestHang(t *testing.T) {
	t.Parallel()
	outputs := fails(t, "hangs", "15", `//failures:hangs: the console did not show "never" within 13s`)
	console, err := os.ReadFile(filepath.Join(outputs, "console.log"))
	if err != nil {
		t.Fatal(err)
	}
	last := "  the console is empty"
	if lines := strings.Split(strings.TrimSpace(string(console)), "\n"); lines[0] != "" {
		last = "  | " + strings.TrimSpace(lines[len(lines)-1])
	}
	log, err := os.ReadFile(filepath.Join(outputs, "log"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(strings.TrimSpace(string(log)), last) {
		t.Errorf("the log does not end with the console's last line, %q:\n%s", last, log)
	}
}

// fails runs a boot test as Bazel does, with a timeout in seconds, and returns the
// folder of its outputs. The file "log" there has the test's output.
func fails(t *testing.T, name, timeout string, words ...string) string {
	t.Helper()
	path, err := runfiles.Rlocation("rules_qcow2_e2e_boot/failures/" + name)
	if err != nil {
		t.Fatal(err)
	}
	outputs := t.TempDir()
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), "TEST_TMPDIR="+t.TempDir(), "TEST_UNDECLARED_OUTPUTS_DIR="+outputs, "TEST_TIMEOUT="+timeout)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("got %v, want exit status 1", err)
	}
	for _, word := range words {
		if !strings.Contains(string(out), word) {
			t.Errorf("the log does not contain %q:\n%s", word, out)
		}
	}
	if err := os.WriteFile(filepath.Join(outputs, "log"), out, 0o666); err != nil {
		t.Fatal(err)
	}
	return outputs
}
