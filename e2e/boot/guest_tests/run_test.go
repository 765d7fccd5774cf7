package guest_tests_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

// A run is one run of a test, inside or outside, with Bazel's environment.
type run struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
	dir            string // has the test's folders and files
}

func newRun(t *testing.T, variable string, args ...string) *run {
	t.Helper()
	program, err := runfiles.Rlocation(os.Getenv(variable))
	if err != nil {
		t.Fatal(err)
	}
	r := &run{dir: t.TempDir()}
	for _, folder := range []string{"tmp", "undeclared", "annotations", "coverage"} {
		if err := os.Mkdir(filepath.Join(r.dir, folder), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	r.cmd = exec.Command(program, args...)
	r.cmd.Dir, err = os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	// The last value of a variable counts.
	r.cmd.Env = append(os.Environ(),
		"COVERAGE_DIR="+r.path("coverage"),
		"SOME=variable of "+r.path("tmp"),
		"TEST_TMPDIR="+r.path("tmp"),
		"TEST_UNDECLARED_OUTPUTS_DIR="+r.path("undeclared"),
		"TEST_UNDECLARED_OUTPUTS_ANNOTATIONS_DIR="+r.path("annotations"),
		"TEST_SHARD_STATUS_FILE="+r.path("shard_status"),
		"TEST_PREMATURE_EXIT_FILE="+r.path("premature"),
		"TEST_WARNINGS_OUTPUT_FILE="+r.path("warnings"),
		"XML_OUTPUT_FILE="+r.path("test.xml"),
	)
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	return r
}

func (r *run) path(name string) string { return filepath.Join(r.dir, name) }

// status runs the test and returns its exit status, as a shell reports it.
func (r *run) status(t *testing.T) int {
	t.Helper()
	err := r.cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		t.Fatal(err)
	}
	if s := exit.Sys().(syscall.WaitStatus); s.Signaled() {
		return 128 + int(s.Signal())
	}
	return exit.ExitCode()
}

// A counter counts bytes, and those that are x.
type counter struct{ all, x int }

func (c *counter) Write(b []byte) (int, error) {
	c.all += len(b)
	c.x += bytes.Count(b, []byte{'x'})
	return len(b), nil
}

type writerFunc func(b []byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
