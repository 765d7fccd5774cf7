// Package vm_test runs boot tests that must fail, and machines on a terminal.
package vm_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/tests/vm/processes"
)

// An inner is a boot test, run as Bazel would run it.
type inner struct {
	cmd     *exec.Cmd
	outputs string // its undeclared outputs
	tmp     string // its TEST_TMPDIR
	log     syncBuffer
}

// A syncBuffer can be read while a command writes to it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newInner prepares the target with a name in this package.
func newInner(t *testing.T, name string, args ...string) *inner {
	t.Helper()
	path, err := runfiles.Rlocation("rules_qcow2/tests/vm/" + name)
	if err != nil {
		t.Fatal(err)
	}
	i := &inner{outputs: t.TempDir(), tmp: t.TempDir()}
	i.cmd = exec.Command(path, args...)
	i.cmd.Env = append(os.Environ(),
		"TEST_TMPDIR="+i.tmp,
		"TEST_UNDECLARED_OUTPUTS_DIR="+i.outputs,
		"TEST_TIMEOUT=60",
	)
	i.cmd.Stdout, i.cmd.Stderr = &i.log, &i.log
	return i
}

// fails runs the test, which must fail with a log that has all the words.
func (i *inner) fails(t *testing.T, words ...string) {
	t.Helper()
	err := i.cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("the test ended with %v, want exit status 1", err)
	}
	i.checkLog(t, words...)
	i.checkClean(t)
}

func (i *inner) checkLog(t *testing.T, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(i.log.String(), word) {
			t.Errorf("the log does not say %q:\n%s", word, i.log.String())
		}
	}
}

// checkClean checks that nothing is left of the machine.
func (i *inner) checkClean(t *testing.T) {
	t.Helper()
	left, err := filepath.Glob(i.tmp + "/*")
	if err != nil || len(left) > 0 {
		t.Errorf("the test left %q, %v", left, err)
	}
	if processes := i.processes(); len(processes) > 0 {
		t.Errorf("the test left processes: %v", processes)
	}
}

// processes returns those that the test has started, without itself: QEMU has the test's
// folder on its command line, a hook in its environment.
func (i *inner) processes() map[int]string {
	found := processes.With(i.tmp)
	delete(found, i.cmd.Process.Pid)
	return found
}

// output returns the content of one of the test's outputs.
func (i *inner) output(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(i.outputs, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
