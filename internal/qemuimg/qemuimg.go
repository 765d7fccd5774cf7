// Package qemuimg runs qemu-img in tests, where it judges what the project
// makes and reads.
package qemuimg

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

// Path returns the qemu-img that judges: Bazel's, or outside of Bazel the one
// on PATH. A test without one fails.
func Path(t testing.TB) string {
	t.Helper()
	if path, err := runfiles.Rlocation("qemu/qemu-img"); err == nil {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	path, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Fatal("qemu-img is neither in the runfiles (qemu/qemu-img) nor on PATH")
	}
	return path
}

// A Result is what one run of qemu-img left.
type Result struct {
	Stdout string
	Stderr string
	Code   int // exit code
}

// Run runs qemu-img in dir and returns what came of it. A run that does not
// come to an exit code ends the test.
func Run(t testing.TB, dir string, args ...string) Result {
	t.Helper()
	cmd := exec.Command(Path(t), args...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatalf("qemu-img %q: %v", args, err)
	}
	return Result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// Must is Run where anything but success ends the test. It returns what
// qemu-img wrote to standard output.
func Must(t testing.TB, dir string, args ...string) string {
	t.Helper()
	result := Run(t, dir, args...)
	if result.Code != 0 {
		t.Fatalf("qemu-img %q failed with %d: %s%s", args, result.Code, result.Stdout, result.Stderr)
	}
	return result.Stdout
}
