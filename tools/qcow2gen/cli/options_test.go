package cli

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestOptionThatDoesNothing adds a row to the table of options that does not
// say what the option does. The option must not be accepted and ignored.
func TestOptionThatDoesNothing(t *testing.T) {
	defer func(previous []formatOption) { formatOptions = previous }(formatOptions)
	formatOptions = append(slices.Clone(formatOptions), formatOption{name: "new_option", kind: kindBool, help: "New option"})
	var stdout, stderr bytes.Buffer
	code := Main([]string{"qcow2gen", "create", "-o", "new_option=on", filepath.Join(t.TempDir(), "t.qcow2"), "1M"}, nil, &stdout, &stderr)
	if want := "option new_option is not supported"; code != 1 || !strings.Contains(stderr.String(), want) {
		t.Errorf("exit code is %d and error %q, want 1 and %q", code, stderr.String(), want)
	}
}
