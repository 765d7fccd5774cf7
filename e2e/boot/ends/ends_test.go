// Package ends_test checks how the machines of Go tests end when the test fails.
package ends_test

import (
	"bytes"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

// An inner is a run of failing_test, as by Bazel.
type inner struct {
	cmd     *exec.Cmd
	log     bytes.Buffer
	outputs string // its undeclared outputs
	tmp     string // its folder for temporary files
}

// newInner prepares a run with a timeout in seconds. Without GO_TEST_WRAP=0, the test
// would be a child of the process that writes test.xml.
func newInner(t *testing.T, way, timeout string) *inner {
	t.Helper()
	program, err := runfiles.Rlocation(os.Getenv("FAILING_TEST"))
	if err != nil {
		t.Fatal(err)
	}
	i := &inner{outputs: t.TempDir(), tmp: t.TempDir()}
	i.cmd = exec.Command(program)
	i.cmd.Env = append(os.Environ(), "WAY="+way, "GO_TEST_WRAP=0", "TEST_TIMEOUT="+timeout,
		"TMPDIR="+i.tmp, "TEST_TMPDIR="+i.tmp, "TEST_UNDECLARED_OUTPUTS_DIR="+i.outputs)
	i.cmd.Stdout, i.cmd.Stderr = &i.log, &i.log
	return i
}

// wantNothingLeft waits until no process of the machine runs.
func (i *inner) wantNothingLeft(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		left := i.processes(t)
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("left: %q", left)
		}
	}
}

// processes returns the command lines with the test's folder: QEMU's.
func (i *inner) processes(t *testing.T) (lines []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if line, _ := os.ReadFile(file); bytes.Contains(line, []byte(i.tmp)) {
			lines = append(lines, string(line))
		}
	}
	return lines
}

// A test that fails says why, and keeps console, QEMU's messages, screenshot and script
// in its outputs.
func TestFails(t *testing.T) {
	t.Parallel()
	const panics = "Kernel panic - not syncing: sysrq triggered crash"
	// A guest on a busy machine takes long to boot. Only one of these needs a timeout.
	const long = "240"
	for _, test := range []struct{ way, timeout, log string }{
		{"expect", "60", `vm: the console did not show "never": the test's time limit is nearly over\n *the time ran out, after \d+\.\d s under (tcg|kvm); 0 of 1 patterns seen, waiting for "never"\n`},
		{"command", long, `vm: \["/program" "exit" "3"\]: exit status 3\n *standard error:\n *\| the status is 3\n`},
		{"output", long, `vm: \["/program" "zeros"\]: the standard output is larger than 64 MiB; use VM.Exec with Stdout\n`},
		{"wait", long, `vm: WaitFor: run "/bin/sh": no such file or directory\n`},
		{"assertion", long, `the assertion failed\n.*vm: the test failed while this machine ran\n(.*\n)*.*\| a line of the guest\n`},
		{"clean-up", long, `in the clean-up\n`},
		{"crash", long, `vm: WriteFile /proc/sysrq-trigger: .*` + panics},
		{"crash unnoticed", long, `vm: console matched fail_on pattern .*` + panics + `.*\n *the guest failed, after \d+\.\d s under (tcg|kvm)\n *last lines of the console \(all are in console.log\):\n`},
	} {
		t.Run(test.way, func(t *testing.T) {
			t.Parallel()
			i := newInner(t, test.way, test.timeout)
			if err := i.cmd.Run(); err == nil {
				t.Error("the test passed")
			}
			if log := i.log.String(); !regexp.MustCompile(test.log).MatchString(log) || strings.Contains(log, "goroutine ") {
				t.Errorf("the log does not match %q, or has stacks:\n%s", test.log, log)
			}
			i.wantLogs(t)
			i.wantNothingLeft(t)
		})
	}
}

// wantLogs checks the files that a failed test leaves.
func (i *inner) wantLogs(t *testing.T) {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(i.outputs, "TestFailing_vm_*"))
	if err != nil || len(folders) != 1 {
		t.Fatalf("got folders %q, %v; want one for the machine", folders, err)
	}
	for _, name := range []string{"console.log", "qemu.log", "command", "screenshot.png"} {
		f, err := os.Open(filepath.Join(folders[0], name))
		if err != nil {
			t.Error(err)
			continue
		}
		defer f.Close()
		if name != "screenshot.png" {
			continue
		}
		if _, err := png.Decode(f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A machine ends with its test, also if that does not get to clean up.
func TestTestEnds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ way, log string }{
		{"panic", "panic: the test panics"},
		{"exit", ""},
		{"hang", "panic: test timed out after 15s"},
	} {
		t.Run(test.way, func(t *testing.T) {
			t.Parallel()
			i := newInner(t, test.way, "15")
			if err := i.cmd.Run(); err == nil {
				t.Error("the test passed")
			}
			if !strings.Contains(i.log.String(), test.log) {
				t.Errorf("the log does not have %q:\n%s", test.log, &i.log)
			}
			i.wantNothingLeft(t)
		})
	}
}

func TestTestIsKilled(t *testing.T) {
	t.Parallel()
	i := newInner(t, "hang", "60")
	i.cmd.Stdout = nil
	out, err := i.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.cmd.Process.Kill() })
	var shown bytes.Buffer
	for b := make([]byte, 1000); !strings.Contains(shown.String(), "the test hangs"); {
		n, err := out.Read(b)
		shown.Write(b[:n])
		if err != nil {
			t.Fatalf("%v; the test printed %q, %q", err, &shown, &i.log)
		}
	}
	if len(i.processes(t)) == 0 {
		t.Error("no process of the machine was found while the test ran")
	}
	i.cmd.Process.Kill()
	i.cmd.Wait()
	i.wantNothingLeft(t)
}
