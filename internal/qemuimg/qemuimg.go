// Package qemuimg runs qemu-img and qemu-io in tests: qemu-img judges the project's
// results, qemu-io writes data to images.
package qemuimg

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

// Path returns the path of qemu-img: a runfile, or outside Bazel the program on PATH.
// If there is none, the test fails.
func Path(t testing.TB) string {
	t.Helper()
	return path(t, "qemu-img")
}

func path(t testing.TB, program string) string {
	t.Helper()
	if path, err := runfiles.Rlocation("qemu/" + program); err == nil {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%[1]s is neither a runfile (qemu/%[1]s) nor on PATH; install QEMU", program)
	}
	return path
}

// A Result is the result of one run of a program.
type Result struct {
	Stdout string
	Stderr string
	Code   int // exit code
}

// Run runs qemu-img in dir and returns its result. If there is no exit code, for
// example because it cannot be started, the test ends.
func Run(t testing.TB, dir string, args ...string) Result {
	t.Helper()
	return run(t, dir, "qemu-img", args)
}

// IO runs qemu-io in dir on the qcow2 image in file, with the given commands. If a
// command fails, the others are still executed, and the exit code is not 0.
func IO(t testing.TB, dir, file string, commands ...string) Result {
	t.Helper()
	args := []string{"-f", "qcow2"}
	for _, command := range commands {
		args = append(args, "-c", command)
	}
	return RunIO(t, dir, append(args, file)...)
}

// RunIO runs qemu-io in dir with any arguments, like Run.
func RunIO(t testing.TB, dir string, args ...string) Result {
	t.Helper()
	return run(t, dir, "qemu-io", args)
}

func run(t testing.TB, dir, program string, args []string) Result {
	t.Helper()
	cmd := exec.Command(path(t, program), args...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatalf("%s %q: %v", program, args, err)
	}
	return Result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// Must is Run for commands that must succeed; otherwise the test ends. It returns
// qemu-img's standard output.
func Must(t testing.TB, dir string, args ...string) string {
	t.Helper()
	result := Run(t, dir, args...)
	if result.Code != 0 {
		t.Fatalf("qemu-img %q failed with %d: %s%s", args, result.Code, result.Stdout, result.Stderr)
	}
	return result.Stdout
}
