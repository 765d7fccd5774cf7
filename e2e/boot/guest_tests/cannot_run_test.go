package guest_tests_test

import (
	"strings"
	"testing"
)

// A guest that cannot run the program.
func TestCannotRun(t *testing.T) {
	for variable, want := range map[string]string{
		"ARM64_INSIDE":   "is not a program for the guest, which is x86_64; set platform, or use a machine with the test's architecture",
		"DYNAMIC_INSIDE": "_main/guest_tests/cc/dynamic needs /lib64/ld-linux-x86-64.so.2, which the guest (Linux 7.",
		"SCRIPT_INSIDE":  "_main/guest_tests/script needs /bin/no-such-shell, which the guest (Linux 7.",
	} {
		t.Run(variable, func(t *testing.T) {
			r := newRun(t, variable)
			if got := r.status(t); got != 1 || !strings.Contains(r.stderr.String(), want) {
				t.Errorf("exit status %d, want 1 and %q: %s", got, want, &r.stderr)
			}
		})
	}
}
