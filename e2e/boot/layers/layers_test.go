// Package layers_test runs the build action of qcow2_layer, also where it must fail.
package layers_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

// An action is that of a layer on :base, by the machine :filler.
type action struct {
	dir  string // of the outputs
	spec map[string]any
	log  bytes.Buffer
}

func newAction(t *testing.T, steps ...string) *action {
	t.Helper()
	a := &action{dir: t.TempDir()}
	config, err := os.ReadFile(rlocation(t, "FILLER") + ".vm.json")
	if err != nil {
		t.Fatal(err)
	}
	var target struct {
		Machine map[string]any `json:"machine"`
	}
	if err := json.Unmarshal(config, &target); err != nil {
		t.Fatal(err)
	}
	machine := target.Machine
	machine["ready"] = map[string]any{}
	machine["kernel_args"] = []string{"console=ttyS0", "no_timer_check", "panic=-1"} // not quiet: reports show the console
	machine["target"] = "//:layer"
	base := filepath.Join(a.dir, "base.img")
	if err := os.Symlink(rlocation(t, "BASE"), base); err != nil {
		t.Fatal(err)
	}
	var scripts []map[string]any
	for _, step := range steps {
		scripts = append(scripts, map[string]any{"line": step, "script": rlocation(t, strings.ToUpper(step))})
	}
	a.spec = map[string]any{
		"console": filepath.Join(a.dir, "console.log"), "log": filepath.Join(a.dir, "log"), "metadata": filepath.Join(a.dir, "json"),
		"disks":      []string{base},
		"layer":      map[string]any{"path": a.layer(), "backing": "base.img"},
		"machine":    machine,
		"steps":      scripts,
		"time_limit": 60,
	}
	return a
}

func (a *action) layer() string { return filepath.Join(a.dir, "layer.qcow2") }

func (a *action) command(t *testing.T) *exec.Cmd {
	t.Helper()
	b, err := json.Marshal(a.spec)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "spec.json")
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(rlocation(t, "FILLER"), "layer-for-build", path)
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	cmd.Stdout, cmd.Stderr = &a.log, &a.log
	return cmd
}

// fails checks that the action failed with an error that has all words, and left
// nothing.
func (a *action) fails(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Error("the action succeeded")
	}
	for _, word := range words {
		if !strings.Contains(a.log.String(), word) {
			t.Errorf("the error does not have %q:\n%s", word, a.log.String())
		}
	}
	left, err := filepath.Glob(filepath.Join(a.dir, "*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != "base.img" {
		t.Errorf("left: %q (%v)", left, err)
	}
}

func TestLayer(t *testing.T) {
	a := newAction(t, "first")
	if err := a.command(t).Run(); err != nil {
		t.Fatalf("%v\n%s", err, a.log.String())
	}
	qemuImg := rlocation(t, "QEMU_IMG")
	for _, args := range [][]string{
		{"check", "-q", a.layer()},
		{"compare", "-q", "-f", "qcow2", "-F", "raw", a.layer(), expected(t)},
	} {
		if out, err := exec.Command(qemuImg, args...).CombinedOutput(); err != nil {
			t.Errorf("qemu-img %q: %v\n%s", args, err, out)
		}
	}
	if !strings.Contains(a.log.String(), "//:layer: the layer has ") {
		t.Errorf("the action printed %q", a.log.String())
	}
}

// expected returns a raw image with the data that the guest sees.
func expected(t *testing.T) string {
	content, err := os.ReadFile(rlocation(t, "BASE"))
	if err != nil {
		t.Fatal(err)
	}
	copy(content[1<<20:2<<20], bytes.Repeat([]byte{'1'}, 1<<20))
	path := filepath.Join(t.TempDir(), "expected")
	if err := os.WriteFile(path, content, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFailures(t *testing.T) {
	for _, test := range []struct {
		step  string
		words []string
	}{
		{"fails", []string{`//:layer: step 2 of 2, "fails", failed: exit status 1`, "standard error:\n  | fill: \"nothing\": ", "last lines of the console:"}},
		{"outside", []string{"no space left on device"}},
		{"panics", []string{`step 2 of 2, "panics", failed: `, "Kernel panic - not syncing", "  | "}},
		{"reboots", []string{`step 2 of 2, "reboots", failed: the guest reset the machine`}},
	} {
		t.Run(test.step, func(t *testing.T) {
			t.Parallel()
			a := newAction(t, "first", test.step)
			a.spec["fail_on"] = []string{"Kernel panic - not syncing"}
			a.fails(t, a.command(t).Run(), test.words...)
		})
	}
}

// The time limit includes the boot and the first step, which take longer on a busy
// machine. A run that ends before the second step hangs says nothing.
func TestStepHangs(t *testing.T) {
	t.Parallel()
	for limit := 8; ; limit *= 2 {
		a := newAction(t, "first", "hangs")
		a.spec["time_limit"] = limit
		err := a.command(t).Run()
		if limit < 200 && !strings.Contains(a.log.String(), "| hanging") {
			continue
		}
		a.fails(t, err, `step 2 of 2, "hangs", failed: `, fmt.Sprintf("the time limit of %v is over", time.Duration(limit)*time.Second), "standard output:\n  | hanging")
		if n := strings.Count(a.log.String(), "last lines of the console"); n != 1 {
			t.Errorf("the console is reported %d times:\n%s", n, &a.log)
		}
		return
	}
}

func TestMaxSize(t *testing.T) {
	a := newAction(t, "first")
	a.spec["max_size"] = 1 << 20
	a.fails(t, a.command(t).Run(), "//:layer: the layer has 1.6 MiB, and max_size is 1.0 MiB; let the guest write less, or set a larger max_size")
}

// The guest does not have a shell.
func TestSealWithoutShell(t *testing.T) {
	a := newAction(t)
	a.spec["seal"] = true
	a.fails(t, a.command(t).Run(), "//:layer: seal: ", "the guest needs /bin/sh for it, or set seal = False")
}

func TestMissingFile(t *testing.T) {
	a := newAction(t)
	a.spec["files"] = []map[string]any{{"path": "/nowhere", "to": "/x"}}
	a.fails(t, a.command(t).Run(), "//:layer: files: /x: ", "no such file")
}

// Bazel sends SIGTERM when a build is canceled.
func TestCanceled(t *testing.T) {
	a := newAction(t, "hangs")
	cmd := a.command(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if b, _ := os.ReadFile(filepath.Join(a.dir, "log")); bytes.Contains(b, []byte("hanging")) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the step did not start")
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	a.fails(t, cmd.Wait(), "stopped by SIGTERM")
}

func rlocation(t *testing.T, variable string) string {
	t.Helper()
	path, err := runfiles.Rlocation(os.Getenv(variable))
	if err != nil {
		t.Fatal(err)
	}
	return path
}
