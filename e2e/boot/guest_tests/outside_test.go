// Package guest_tests_test has a test that runs outside and inside of guests
// (contract_test.go), and one that compares runs of other programs there.
package guest_tests_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Inside and outside have the same status, the same outputs and the same files.
func TestSame(t *testing.T) {
	for _, args := range [][]string{
		{"exit", "0"},
		{"exit", "3"},
		{"exit", "255"},
		{"signal"},
		{"nonsense"},
		{"print", "an argument", "", "$HOME", "*"},
		{"write", "XML_OUTPUT_FILE", "", "0"},
		{"write", "XML_OUTPUT_FILE", "", "3"},
		{"write", "TEST_SHARD_STATUS_FILE", "", "3"},
		{"write", "TEST_PREMATURE_EXIT_FILE", "", "0"},
		{"write", "TEST_PREMATURE_EXIT_FILE", "", "3"},
		{"write", "TEST_WARNINGS_OUTPUT_FILE", "", "3"},
		{"write", "TEST_UNDECLARED_OUTPUTS_DIR", "a file", "0"},
		{"write", "TEST_UNDECLARED_OUTPUTS_DIR", "a file", "3"},
		{"write", "TEST_UNDECLARED_OUTPUTS_ANNOTATIONS_DIR", "a file", "3"},
		{"write", "COVERAGE_DIR", "a file", "3"},
		{"write", "TEST_TMPDIR", "a file", "0"},
		{"much", "100"},
		{"closed"},
		{"input"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			outside, inside := newRun(t, "BEHAVES", args...), newRun(t, "BEHAVES_INSIDE", args...)
			if args[0] == "exit" { // which never reads it
				outside.cmd.Stdin, inside.cmd.Stdin = bytes.NewReader(make([]byte, 1<<20)), bytes.NewReader(make([]byte, 1<<20))
			}
			want, got := outside.status(t), inside.status(t)
			if got != want {
				t.Errorf("exit status %d inside, %d outside; inside: %s", got, want, &inside.stderr)
			}
			// The folders differ.
			wantOut := strings.ReplaceAll(outside.stdout.String(), outside.path("tmp"), "/var/tmp/bazel/tmp")
			if inside.stdout.String() != wantOut {
				t.Errorf("standard output %.300q inside, %.300q outside", inside.stdout.String(), wantOut)
			}
			if inside.stderr.String() != outside.stderr.String() {
				t.Errorf("standard error %.300q inside, %.300q outside", inside.stderr.String(), outside.stderr.String())
			}
			for _, name := range []string{"test.xml", "shard_status", "premature", "warnings", "undeclared/a file", "annotations/a file", "coverage/a file"} {
				want, wantErr := os.ReadFile(outside.path(name))
				got, err := os.ReadFile(inside.path(name))
				if os.IsNotExist(err) != os.IsNotExist(wantErr) || !bytes.Equal(got, want) {
					t.Errorf("%s is %q, %v inside and %q, %v outside", name, got, err, want, wantErr)
				}
			}
			if left, _ := filepath.Glob(inside.path("tmp/*")); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// The variables that BUILD files and Bazel set are the same, with the guest's folders.
func TestEnvironment(t *testing.T) {
	outside, inside := newRun(t, "BEHAVES", "environment"), newRun(t, "BEHAVES_INSIDE", "environment")
	if outside.status(t) != 0 || inside.status(t) != 0 {
		t.Fatalf("%s%s", &outside.stderr, &inside.stderr)
	}
	guest := strings.NewReplacer(
		outside.path("tmp"), "/var/tmp/bazel/tmp",
		outside.path("undeclared"), "/var/tmp/bazel/outputs/undeclared",
		outside.path("annotations"), "/var/tmp/bazel/outputs/annotations",
		outside.path("coverage"), "/var/tmp/bazel/outputs/coverage",
		outside.path("shard_status"), "/var/tmp/bazel/outputs/shard_status",
		outside.path("premature"), "/var/tmp/bazel/outputs/premature_exit",
		outside.path("warnings"), "/var/tmp/bazel/outputs/warnings",
		outside.path("test.xml"), "/var/tmp/bazel/outputs/test.xml",
		os.Getenv("TEST_SRCDIR"), "/var/tmp/bazel/test/runfiles",
	)
	want, got := variables(guest.Replace(outside.stdout.String())), variables(inside.stdout.String())
	for name, value := range map[string]string{
		"HOME":        "/root",
		"PATH":        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"TEST_BINARY": "guest_tests/behaves/behaves_/behaves",
		"USER":        "root",
	} {
		if got[name] != value {
			t.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
	// These are those of the guest, of the test's own target, or of this test.
	for _, name := range []string{
		"HOME", "LOGNAME", "OLDPWD", "PATH", "SHLVL", "TMPDIR", "USER", "_",
		"RUNFILES_MANIFEST_FILE", "TEST_BINARY", "TEST_INFRASTRUCTURE_FAILURE_FILE", "TEST_LOGSPLITTER_OUTPUT_FILE", "TEST_UNUSED_RUNFILES_LOG_FILE",
	} {
		delete(want, name)
		delete(got, name)
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %q inside, want %q", name, got[name], value)
		}
	}
	for name, value := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s=%s is only inside", name, value)
		}
	}
}

func variables(lines string) map[string]string {
	set := make(map[string]string)
	for line := range strings.Lines(lines) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		set[name] = value
	}
	return set
}

// 1 GiB of output goes through the agent and the runner, which do not keep it.
func TestMuchOutput(t *testing.T) {
	const size, limit = 1 << 30, 64 << 10 // in bytes, in KiB
	r := newRun(t, "BEHAVES_INSIDE", "peak", strconv.Itoa(size>>20))
	out := &counter{}
	r.cmd.Stdout = out
	var runner []byte
	r.cmd.Stderr = writerFunc(func(b []byte) (int, error) {
		if runner == nil {
			runner, _ = os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
		}
		return r.stderr.Write(b)
	})
	if got := r.status(t); got != 0 {
		t.Errorf("exit status %d: %s", got, &r.stderr)
	}
	if out.all != size || out.x != size {
		t.Errorf("got %d bytes, %d of them right, want %d", out.all, out.x, size)
	}
	for name, status := range map[string]string{"agent": r.stderr.String(), "runner": string(runner)} {
		var peak int
		_, rest, _ := strings.Cut(status, "VmHWM:")
		if _, err := fmt.Sscan(rest, &peak); err != nil || peak > limit {
			t.Errorf("the %s had %d KiB of memory, %v; the limit is %d KiB", name, peak, err, limit)
		}
		t.Logf("%s: %d KiB", name, peak)
	}
}

// A guest that ends is a failure that says so.
func TestGuestEnds(t *testing.T) {
	for how, words := range map[string][]string{
		"panic":  {`console matched fail_on pattern "Kernel panic - not syncing"`, "last lines of the console"},
		"reboot": {"the guest reset the machine"},
	} {
		t.Run(how, func(t *testing.T) {
			r := newRun(t, "BEHAVES_INSIDE", how)
			if got := r.status(t); got != 1 {
				t.Errorf("exit status %d, want 1", got)
			}
			for _, word := range words {
				if !strings.Contains(r.stderr.String(), word) {
					t.Errorf("the error does not have %q:\n%s", word, &r.stderr)
				}
			}
			if _, err := os.Stat(r.path("undeclared/vm/console.log")); err != nil {
				t.Errorf("the logs are not in the outputs: %v", err)
			}
		})
	}
}

// Tests that do strange things, which this machine must not do, end as they would outside.
func TestStrange(t *testing.T) {
	for how, want := range map[string]struct {
		status int
		stdout string
	}{
		"clock":   {0, ""},
		"daemon":  {0, ""},
		"deletes": {0, ""},
		"disk":    {0, "true\n"},
		"memory":  {128 + 9, ""}, // of the OOM killer
		"network": {0, "true\n"},
	} {
		t.Run(how, func(t *testing.T) {
			r := newRun(t, "BEHAVES_INSIDE", how)
			if got := r.status(t); got != want.status || r.stdout.String() != want.stdout {
				t.Errorf("exit status %d, output %q, want %v: %s", got, &r.stdout, want, &r.stderr)
			}
		})
	}
}

// A link to a file of the guest does not become one to a file of the host.
func TestLink(t *testing.T) {
	for variable, path := range map[string]string{"XML_OUTPUT_FILE": "test.xml", "TEST_UNDECLARED_OUTPUTS_DIR": "undeclared/link"} {
		t.Run(variable, func(t *testing.T) {
			r := newRun(t, "BEHAVES_INSIDE", "link", variable, strings.TrimPrefix(filepath.Base(path), "test.xml"))
			if got := r.status(t); got != 0 {
				t.Errorf("exit status %d: %s", got, &r.stderr)
			}
			if _, err := os.Lstat(r.path(path)); !os.IsNotExist(err) {
				t.Errorf("%s exists: %v", path, err)
			}
		})
	}
}

// Links within the outputs stay.
func TestLinkWithin(t *testing.T) {
	r := newRun(t, "BEHAVES_INSIDE", "links")
	if got := r.status(t); got != 0 {
		t.Errorf("exit status %d: %s", got, &r.stderr)
	}
	if target, err := os.Readlink(r.path("undeclared/folder/link")); err != nil || target != "../a file" {
		t.Errorf("the link leads to %q, %v", target, err)
	}
}

// Bazel sends SIGTERM at the time-out. The test gets it, and its outputs arrive. A guest
// that hangs is a failure that says so.
func TestTimeout(t *testing.T) {
	for how, want := range map[string]struct {
		status                 int
		stdout, stderr         string
		undeclared, prematures bool
	}{
		"stacks": {0, "the stacks\n", "", true, false},
		"deaf":   {128 + 9, "", "", true, true},
		"hang":   {1, "", "the guest hangs: the test was to end 7s ago, and the guest did not kill it", false, false},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, "BEHAVES_INSIDE", how)
			r.cmd.Stdout = nil
			pipe, err := r.cmd.StdoutPipe()
			if err == nil {
				err = r.cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			first := make([]byte, 8)
			if _, err := pipe.Read(first); err != nil || string(first) != "waiting\n" {
				t.Fatalf("%q, %v: %s", first, err, &r.stderr)
			}
			r.cmd.Process.Signal(syscall.SIGTERM)
			begin := time.Now()
			var rest bytes.Buffer
			rest.ReadFrom(pipe)
			r.cmd.Wait()
			if got := r.cmd.ProcessState.ExitCode(); got != want.status || rest.String() != want.stdout || !strings.Contains(r.stderr.String(), want.stderr) {
				t.Errorf("exit status %d, output %q, want %v: %s", got, &rest, want, &r.stderr)
			}
			if d := time.Since(begin); d > 14*time.Second {
				t.Errorf("ended %v after SIGTERM; Bazel kills after 15 s", d)
			}
			for name, want := range map[string]bool{
				"undeclared/a file":         want.undeclared,
				"premature":                 want.prematures,
				"undeclared/vm/console.log": want.status != 0,
			} {
				if _, err := os.Stat(r.path(name)); (err == nil) != want {
					t.Errorf("%s: %v, want it: %v", name, err, want)
				}
			}
		})
	}
}

// A test that is ended while its machine boots.
func TestEndedEarly(t *testing.T) {
	r := newRun(t, "CONTRACT_IN_VM")
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	console := r.path("tmp/vm*/logs/console.log")
	for found, _ := filepath.Glob(console); len(found) == 0; found, _ = filepath.Glob(console) {
		time.Sleep(10 * time.Millisecond)
	}
	r.cmd.Process.Signal(syscall.SIGTERM)
	r.cmd.Wait()
	if want := "while the machine started: stopped by SIGTERM"; !strings.Contains(r.stderr.String(), want) {
		t.Errorf("the error does not have %q: %s", want, &r.stderr)
	}
}

// With --interactive, a shell runs in the test's working directory.
func TestInteractive(t *testing.T) {
	r := newRun(t, "BEHAVES_INSIDE", "--interactive")
	r.cmd.Stdin = strings.NewReader("exit 3\n")
	// The guest does not have a shell.
	if got := r.status(t); got != 1 || !strings.Contains(r.stderr.String(), "/bin/sh") {
		t.Errorf("exit status %d: %s", got, &r.stderr)
	}
}

// With --hold, the guest of a test that fails stays without Bazel's time limit too, as in
// `bazel run`, until the printed command ends it. check.sh does this in `bazel test`.
func TestHold(t *testing.T) {
	t.Run("failure", func(t *testing.T) {
		r := newRun(t, "BEHAVES_INSIDE", "--hold", "exit", "3")
		hold(t, r, "behaves/behaves_/behaves print attached", "attached\n") // in the folder of this package, as this test
		if got := r.cmd.ProcessState.ExitCode(); got != 3 {
			t.Errorf("exit status %d: %s", got, &r.stderr)
		}
	})
	// The test cannot run at all.
	t.Run("error", func(t *testing.T) {
		r := newRun(t, "SCRIPT_INSIDE", "--hold")
		hold(t, r, "/rules_qcow2/agent -help", "")
		if got := r.cmd.ProcessState.ExitCode(); got != 1 || !strings.Contains(r.stderr.String(), "needs /bin/no-such-shell") {
			t.Errorf("exit status %d: %s", got, &r.stderr)
		}
	})
}

// hold runs a command in the guest that stays, and then lets the guest end.
func hold(t *testing.T, r *run, command, want string) {
	t.Helper()
	r.cmd.Env = append(r.cmd.Env, "TEST_TIMEOUT=")
	r.cmd.Stderr = nil
	pipe, err := r.cmd.StderrPipe()
	if err == nil {
		err = r.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var attach string
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		r.stderr.WriteString(lines.Text() + "\n")
		printed := strings.TrimSpace(lines.Text())
		if strings.Contains(printed, " shell -s ") {
			attach = printed + " -- " + command
		}
		if !strings.Contains(printed, " stop -s ") {
			continue
		}
		if out, err := exec.Command("/bin/sh", "-c", attach).CombinedOutput(); err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("%s: %v, %s", attach, err, out)
		}
		if out, err := exec.Command("/bin/sh", "-c", printed).CombinedOutput(); err != nil {
			t.Errorf("%s: %v, %s", printed, err, out)
		}
	}
	r.cmd.Wait()
	if attach == "" || strings.Contains(r.stderr.String(), "Bazel ends the test") {
		t.Errorf("the guest was not kept until its end: %s", &r.stderr)
	}
}

// A guest that has ended cannot stay.
func TestHoldAfterPanic(t *testing.T) {
	r := newRun(t, "BEHAVES_INSIDE", "--hold", "panic")
	if got := r.status(t); got != 1 || !strings.Contains(r.stderr.String(), "--hold does not keep the guest, which has ended") {
		t.Errorf("exit status %d: %s", got, &r.stderr)
	}
}
