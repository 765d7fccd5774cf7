package scale

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rules-qcow2/rules_qcow2/bench/measure"
)

// A workspace is a generated Bazel workspace with its own server.
type workspace struct {
	*measure.Env
	ruleset            string // checkout
	dir                string
	bin                string // its bazel-bin
	overlays, analysed int
	qemuImg, touch     string // absolute paths, as a sandbox sees them
	moved              int    // number of output folders that were moved away
}

func newWorkspace(env *measure.Env, ruleset string, overlays, analysed int) (*workspace, error) {
	if overlays < 10 || overlays%10 != 0 || analysed < 10 || analysed%10 != 0 {
		return nil, fmt.Errorf("-overlays = %d and -analysed = %d must be multiples of 10", overlays, analysed)
	}
	w := &workspace{Env: env, ruleset: ruleset, dir: env.Path("workspace"), overlays: overlays, analysed: analysed}
	w.bin = filepath.Join(w.dir, "bazel-bin")
	var err error
	if w.qemuImg, err = filepath.EvalSymlinks(env.QemuImg); err != nil {
		return nil, err
	}
	w.touch, err = exec.LookPath("touch")
	return w, err
}

// bazel runs Bazel in the workspace and returns its standard output.
func (w *workspace) bazel(arguments ...string) (string, error) {
	startup := []string{
		"--output_base=" + w.Path("output_base"),
		"--max_idle_secs=120", // in case nothing shuts it down
	}
	if arguments[0] == "build" {
		arguments = append([]string{"build", "--color=no", "--curses=no", "--noshow_progress"}, arguments[1:]...)
	}
	cmd := exec.Command(filepath.Join(w.ruleset, "bazelw"), append(startup, arguments...)...)
	cmd.Dir = w.dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// The Bazel that runs this program sets these variables.
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "BUILD_") && !strings.HasPrefix(variable, "RUNFILES_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("bazel %s: %w: %s", strings.Join(arguments, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// makeTools builds the programs that actions need, with the user's caches: the
// generator is compiled once.
func (w *workspace) makeTools() error {
	w.Log("  building the generator")
	// A checkout below /tmp is not visible in sandboxes that have their own /tmp.
	_, err := w.bazel("build", "--noincompatible_sandbox_hermetic_tmp", "//one:all")
	return err
}

// uncached are flags for builds in which each action runs as by default: in a
// worker if the action supports that, else in a sandbox.
var uncached = []string{"--disk_cache=", "--remote_cache="}

// measured runs bazel and measures it: the time until the client ends, and the
// processor time of the server and its children.
func (w *workspace) measured(arguments ...string) (measure.Sample, error) {
	pid, err := w.bazel("info", "server_pid")
	if err != nil {
		return measure.Sample{}, err
	}
	before, err := processorTime(pid)
	if err != nil {
		return measure.Sample{}, err
	}
	start := time.Now()
	if _, err := w.bazel(arguments...); err != nil {
		return measure.Sample{}, err
	}
	elapsed := time.Since(start)
	after, err := processorTime(pid)
	w.Log("  %s: %.1f s", arguments[len(arguments)-1], elapsed.Seconds())
	return measure.Sample{Seconds: elapsed.Seconds(), CPU: after - before}, err
}

// processorTime returns the processor time, in seconds, of a process, of the
// children that it waited for and of those that run, such as workers.
func processorTime(pid string) (float64, error) {
	sum, _, err := readStat(pid)
	if err != nil {
		return 0, err
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, stat := range stats {
		// A child that has ended meanwhile counts as waited for next time.
		if seconds, parent, err := readStat(filepath.Base(filepath.Dir(stat))); err == nil && parent == pid {
			sum += seconds
		}
	}
	return sum, nil
}

// readStat returns the processor time of a process and the children that it
// waited for, in seconds, and its parent: utime, stime, cutime, cstime and ppid
// of proc(5).
func readStat(pid string) (seconds float64, parent string, err error) {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, "", err
	}
	// The second field is a name in parentheses, with any characters.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	const ticksPerSecond = 100 // USER_HZ of every Linux that Bazel runs on
	var ticks int
	for _, field := range fields[11:15] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, "", fmt.Errorf("/proc/%s/stat: %w", pid, err)
		}
		ticks += n
	}
	return float64(ticks) / ticksPerSecond, fields[1], nil
}

// heap returns the bytes in use on the server's heap after garbage collection.
func (w *workspace) heap() (int64, error) {
	text, err := w.bazel("info", "used-heap-size-after-gc")
	if err != nil {
		return 0, err
	}
	mebibytes, err := strconv.ParseInt(strings.TrimSuffix(text, "MB"), 10, 64)
	return mebibytes << 20, err
}

// close ends the server and removes its outputs, whose folders may be
// read-only.
func (w *workspace) close() {
	if _, err := w.bazel("clean", "--expunge"); err != nil {
		w.Log("%v", err)
	}
}
