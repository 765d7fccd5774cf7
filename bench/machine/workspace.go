package machine

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rules-qcow2/rules_qcow2/bench/measure"
)

// A workspace is the folder of a Bazel workspace below e2e, which uses the ruleset
// around it.
type workspace string

// uncached makes Bazel make again what was removed.
var uncached = []string{"--disk_cache=", "--remote_cache="}

// bazel runs a command of Bazel, and returns its standard output.
func (w workspace) bazel(command string, args ...string) (string, error) {
	args = append([]string{command, "--color=no", "--noshow_progress"}, args...)
	cmd := exec.Command("../../bazelw", args...)
	cmd.Dir = string(w)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// The Bazel that runs this program sets these variables.
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "BUILD_") && !strings.HasPrefix(variable, "RUNFILES_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("bazel %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(append(stderr.Bytes(), stdout.Bytes()...)))
	}
	return stdout.String(), nil
}

// build builds targets, which are given without "//".
func (w workspace) build(targets ...string) error {
	var labels []string
	for _, target := range targets {
		labels = append(labels, label(target))
	}
	_, err := w.bazel("build", labels...)
	return err
}

// executable returns the path of a target's only output, also if its rule changes the
// configuration, as rules_go's do.
func (w workspace) executable(target string) (string, error) {
	output, err := w.bazel("cquery", "--output=files", label(target))
	if err != nil {
		return "", err
	}
	dir, name := filepath.Split(strings.TrimSpace(output))
	dir, err = filepath.EvalSymlinks(filepath.Join(string(w), dir)) // as Bazel's tests see it
	return filepath.Join(dir, name), err
}

// rebuild makes an output of a target again, and returns the time that Bazel takes.
func (w workspace) rebuild(target, output string) (sample measure.Sample, err error) {
	if err := os.Remove(output); err != nil {
		return sample, err
	}
	start := time.Now()
	_, err = w.bazel("build", append(uncached, label(target))...)
	sample.Seconds = time.Since(start).Seconds()
	return sample, err
}

func label(target string) string {
	dir, name := filepath.Split(target)
	return "//" + strings.TrimSuffix(dir, "/") + ":" + name
}

// path returns the path of an output in bazel-bin.
func (w workspace) path(target string) string {
	return filepath.Join(string(w), "bazel-bin", filepath.FromSlash(target))
}
