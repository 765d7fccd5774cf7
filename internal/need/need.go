// Package need skips tests on machines that lack something, but not where all of them
// must run.
package need

import (
	"os"
	"testing"
)

// NoSkipVariable is the name of an environment variable. If it is not empty, tests that
// Skip would skip fail instead.
const NoSkipVariable = "RULES_QCOW2_NO_SKIP"

// Skip ends a test that cannot run on this machine. Its arguments are those of
// [testing.T.Skipf].
func Skip(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv(NoSkipVariable) != "" {
		t.Fatalf(NoSkipVariable+" is set, and the test cannot run: "+format, args...)
	}
	t.Skipf(format, args...)
}
