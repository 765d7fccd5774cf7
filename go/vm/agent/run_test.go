package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
	"github.com/rules-qcow2/rules_qcow2/internal/need"
)

func run(t *testing.T, ctx context.Context, c *agent.Client, cmd agent.Command) (stdout, stderr string, r agent.Result) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	r, err := c.Run(ctx, cmd)
	if err != nil {
		t.Fatalf("Run(%.100q): %v", cmd.Args, err)
	}
	return out.String(), errs.String(), r
}

func TestRun(t *testing.T) {
	ctx, c := connect(t)
	shell := func(line string) []string { return []string{"sh", "-c", line} }
	for _, test := range []struct {
		name           string
		cmd            agent.Command
		stdout, stderr string
		result         string
	}{
		{name: "exit status", cmd: agent.Command{Args: shell("exit 7")}, result: "exit status 7"},
		{name: "signal", cmd: agent.Command{Args: shell("kill -USR1 $$")}, result: "signal SIGUSR1"},
		{name: "both outputs", cmd: agent.Command{Args: shell("echo out; echo err >&2")},
			stdout: "out\n", stderr: "err\n", result: "exit status 0"},
		{name: "input", cmd: agent.Command{Args: []string{"cat"}, Stdin: strings.NewReader("in")},
			stdout: "in", result: "exit status 0"},
		{name: "no input", cmd: agent.Command{Args: []string{"cat"}}, result: "exit status 0"},
		{name: "input that is not read", cmd: agent.Command{Args: []string{"true"}, Stdin: zeros{}}, result: "exit status 0"},
		{name: "directory", cmd: agent.Command{Args: []string{"pwd"}, Dir: "/usr"}, stdout: "/usr\n", result: "exit status 0"},
		{name: "environment", cmd: agent.Command{Args: shell(`echo "$A,$PATH,$USER,${LANG-unset}"`), Env: []string{"A=1", "A=2", "USER=x"}},
			stdout: "2,/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin,x,unset\n", result: "exit status 0"},
		{name: "user by name", cmd: agent.Command{Args: shell("id -u; id -g; echo $USER"), User: "daemon"},
			stdout: "1\n1\ndaemon\n", result: "exit status 0"},
		{name: "user by number", cmd: agent.Command{Args: shell("id -u; id -G"), User: "4242:4343"},
			stdout: "4242\n4343\n", result: "exit status 0"},
		{name: "group by name", cmd: agent.Command{Args: shell("id -u; id -g"), User: "1:bin"},
			stdout: "1\n2\n", result: "exit status 0"},
		{name: "time limit", cmd: agent.Command{Args: []string{"sleep", "1000"}, TimeLimit: time.Millisecond}, result: "killed at its time limit"},
		{name: "any bytes", cmd: agent.Command{Args: []string{"printf", "%s", "a\nb\xff\xfe 'c'"}}, stdout: "a\nb\xff\xfe 'c'", result: "exit status 0"},
		{name: "not the agent's score", cmd: agent.Command{Args: []string{"cat", "/proc/self/oom_score_adj"}}, stdout: "0\n", result: "exit status 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.cmd.User != "" && os.Chown(t.TempDir(), 4242, 4343) != nil {
				t.Skip("needs root, and not only in a user namespace")
			}
			stdout, stderr, r := run(t, ctx, c, test.cmd)
			if stdout != test.stdout || stderr != test.stderr || r.String() != test.result {
				t.Errorf("got %q, %q, %v; want %q, %q, %s", stdout, stderr, r, test.stdout, test.stderr, test.result)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// A command line of 100 KB arrives unchanged.
func TestLongCommandLine(t *testing.T) {
	ctx, c := connect(t)
	long := strings.Repeat("0123456789\n\xff\x80", 100<<10/13)
	stdout, _, _ := run(t, ctx, c, agent.Command{Args: []string{"printf", "%s", long}})
	if stdout != long {
		t.Errorf("got %d bytes, want %d", len(stdout), len(long))
	}
	// Longer than the window, shorter than Linux's limit.
	args := []string{"sh", "-c", "echo $#", "sh"}
	for range 5 {
		args = append(args, long)
	}
	if stdout, _, _ := run(t, ctx, c, agent.Command{Args: args}); stdout != "5\n" {
		t.Errorf("got %q arguments, want 5", stdout)
	}
}

func TestRunErrors(t *testing.T) {
	ctx, c := connect(t)
	for _, test := range []struct {
		name string
		cmd  agent.Command
		want string
		is   error
	}{
		{"nothing", agent.Command{}, "no program is named", nil},
		{"no program", agent.Command{Args: []string{"no-such-program"}}, `"no-such-program": program not found in PATH=/usr/local/sbin`, fs.ErrNotExist},
		{"no path", agent.Command{Args: []string{"/no/such"}}, "no such file or directory", fs.ErrNotExist},
		{"not executable", agent.Command{Args: []string{"/etc/passwd"}}, "permission denied", fs.ErrPermission},
		{"no directory", agent.Command{Args: []string{"true"}, Dir: "/no/dir"}, "working directory: stat /no/dir", fs.ErrNotExist},
		{"no user", agent.Command{Args: []string{"true"}, User: "nobody-here"}, `/etc/passwd has no "nobody-here"`, nil},
		{"no group", agent.Command{Args: []string{"true"}, User: "4242"}, "name a group: 4242:GID", nil},
		{"bad variable", agent.Command{Args: []string{"true"}, Env: []string{"A"}}, `"A" must be KEY=value`, nil},
		{"zero byte", agent.Command{Args: []string{"true", "a\x00b"}}, "zero byte", nil},
		{"too long", agent.Command{Args: []string{"true", strings.Repeat("x", 5<<20)}}, "too long", nil},
		{"longer than Linux allows", agent.Command{Args: []string{"true", strings.Repeat("x", 1<<20)}}, "argument list too long", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := c.Run(ctx, test.cmd)
			if err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("got %v, want %q, %v", err, test.want, test.is)
			}
		})
	}
}

// The end of the context kills the command with its process group.
func TestCancel(t *testing.T) {
	ctx, c := connect(t)
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	go func() {
		io.ReadFull(r, make([]byte, 2)) // both run
		cancel()
		io.Copy(io.Discard, r)
	}()
	// Other runs of this test have other numbers.
	seconds := fmt.Sprint("98765", os.Getpid())
	p, err := c.Start(ctx, agent.Command{Args: []string{"sh", "-c", "(trap '' TERM; echo; sleep $0)& echo; sleep $0", seconds}, Stdout: w})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(); !errors.Is(err, context.Canceled) {
		t.Fatalf("Wait: got %v, want %v", err, context.Canceled)
	}
	if stdout, _, _ := run(t, context.Background(), c, agent.Command{Args: []string{"pgrep", "-fa", "-r", "R,S,D", "^sleep " + seconds}}); stdout != "" {
		t.Errorf("still running:\n%s", stdout)
	}
}

func TestSignal(t *testing.T) {
	ctx, c := connect(t)
	r, w := io.Pipe()
	p, err := c.Start(ctx, agent.Command{Args: []string{"sh", "-c", "trap 'exit 3' TERM; echo; while :; do sleep 0.01; done"}, Stdout: w})
	if err != nil {
		t.Fatal(err)
	}
	r.Read(make([]byte, 1)) // the trap is set
	if err := p.Signal(agent.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if r, err := p.Wait(); err != nil || r.ExitStatus != 3 {
		t.Errorf("got %v, %v; want exit status 3", r, err)
	}
	if err := p.Signal(agent.SIGTERM); err != nil {
		t.Errorf("signal after the end: %v", err)
	}
}

// A command may leave a server behind: it does not hold up the result, and its
// output does not fail.
func TestProcessesLeftBehind(t *testing.T) {
	ctx, c := connect(t)
	file := t.TempDir() + "/alive"
	stdout, _, r := run(t, ctx, c, agent.Command{Args: []string{"sh", "-c", `
		(while [ ! -e "$0.go" ]; do sleep 0.01; done; echo more; echo alive >"$0.tmp"; mv "$0.tmp" "$0")&
		echo done`, file}})
	if stdout != "done\n" || !r.Success() {
		t.Errorf("got %q, %v", stdout, r)
	}
	os.WriteFile(file+".go", nil, 0o600)
	for {
		if b, err := os.ReadFile(file); err == nil {
			if string(b) != "alive\n" {
				t.Errorf("got %q", b)
			}
			return
		}
		if err := ctx.Err(); err != nil {
			t.Fatal("the process left behind did not survive its write")
		}
		time.Sleep(time.Millisecond)
	}
}

// What a command wrote just before it ended is not lost.
func TestLastOutput(t *testing.T) {
	ctx, c := connect(t)
	for range 5 {
		stdout, _, _ := run(t, ctx, c, agent.Command{Args: []string{"sh", "-c", "sleep 0.5 >/dev/null & head -c 60000 /dev/zero"}})
		if len(stdout) != 60000 {
			t.Fatalf("got %d bytes, want 60000", len(stdout))
		}
	}
}

// Processes of the command that outlive it still write its output.
func TestOutputAfterTheEnd(t *testing.T) {
	ctx, c := connect(t)
	for script, want := range map[string]string{
		"(sleep 0.3; echo late) & echo first":                              "first\nlate\n",
		"(sleep 0.3; echo 1; sleep 0.6; echo 2; sleep 0.6; echo 3) &":      "1\n2\n3\n",
		"(sleep 0.3; head -c 3000000 /dev/zero) &":                         strings.Repeat("\x00", 3_000_000),
		"exec 3>&1; (sleep 0.3; echo late >&3) >/dev/null 2>&1 & exit 0":   "late\n",
		"sleep 20 >/dev/null 2>&1 & echo first":                            "first\n",
		"sleep 20 & echo first":                                            "first\n", // silent
		"for i in $(seq 900); do sleep 0.1; echo x >&2; done & echo first": "first\n", // not silent for 90 s
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			stdout, _, r := run(t, ctx, c, agent.Command{Args: []string{"sh", "-c", script}})
			if stdout != want || !r.Success() {
				t.Errorf("got %.100q, %v; want %.100q", stdout, r, want)
			}
			if took := time.Since(begin); took > 50*time.Second {
				t.Errorf("the command took %v, want that it does not wait for processes that it left behind", took)
			}
		})
	}
}

// Bash does not wait for the processes of >(…).
func TestProcessSubstitution(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		need.Skip(t, "bash is not on PATH")
	}
	ctx, c := connect(t)
	for range 10 {
		for _, script := range []string{"echo important > >(sed s/x/y/)", "exec > >(cat); echo important"} {
			if stdout, _, r := run(t, ctx, c, agent.Command{Args: []string{"bash", "-c", script}}); stdout != "important\n" || !r.Success() {
				t.Fatalf("%s: got %q, %v", script, stdout, r)
			}
		}
	}
}

// A screen is the output of a command's terminal.
type screen struct {
	mu   sync.Mutex
	text string
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text += string(b)
	return len(b), nil
}

// wait waits until the screen shows a text.
func (s *screen) wait(t *testing.T, ctx context.Context, text string) {
	t.Helper()
	for ; ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		now := s.text
		s.mu.Unlock()
		if strings.Contains(now, text) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("the terminal shows %q, want %q", now, text)
		}
	}
}

// A command with a terminal is a session that the terminal controls.
func TestTerminal(t *testing.T) {
	ctx, c := connect(t)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var s screen
	r, w := io.Pipe()
	p, err := c.Start(ctx, agent.Command{
		Args: []string{"sh", "-i"}, Env: []string{"TERM=some", "PS1=prompt: "}, Stdin: r, Stdout: &s,
		Terminal: &agent.Terminal{Rows: 33, Columns: 111},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.wait(t, ctx, "prompt: ")
	io.WriteString(w, "tty && tty </dev/tty >&2 && echo $((1 + 1)) of $TERM; stty size\n")
	s.wait(t, ctx, "\r\n2 of some\r\n33 111\r\n")
	s.wait(t, ctx, "/dev/pts/")
	io.WriteString(w, "trap 'echo size: $(stty size)' WINCH\n")
	s.wait(t, ctx, "WINCH\r\n")
	if err := p.Resize(agent.Terminal{Rows: 12, Columns: 65535}); err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, `until [ "$(stty size)" = "12 65535" ]; do :; done`+"\n")
	s.wait(t, ctx, "size: 12 65535\r\n")
	// Ctrl-C ends the foreground command, and not the session.
	io.WriteString(w, "echo sleep${TERM+ing}; sleep 1000\n")
	s.wait(t, ctx, "sleeping\r\n")
	time.Sleep(50 * time.Millisecond)
	io.WriteString(w, "\x03")
	s.wait(t, ctx, "^C")
	io.WriteString(w, "echo status $?\n")
	s.wait(t, ctx, "\r\nstatus 130\r\n")
	io.WriteString(w, "exit 5\n")
	if r, err := p.Wait(); err != nil || r.ExitStatus != 5 {
		t.Errorf("got %v, %v, want exit status 5", r, err)
	}
	for _, size := range []agent.Terminal{{Rows: -1}, {Columns: 65536}} {
		if _, err := c.Run(ctx, agent.Command{Args: []string{"true"}, Terminal: &size}); err == nil || !strings.Contains(err.Error(), "both must be 0 to 65535") {
			t.Errorf("%v: got %v", size, err)
		}
		if err := p.Resize(size); err == nil {
			t.Errorf("resize to %v: want an error", size)
		}
	}
}

// The end of the input is Ctrl-D. All output arrives.
func TestTerminalEnds(t *testing.T) {
	ctx, c := connect(t)
	for range 20 {
		stdout, _, r := run(t, ctx, c, agent.Command{Args: []string{"sh", "-c", "head -c 60000 /dev/zero | tr '\\0' x; cat; exit 3"}, Terminal: &agent.Terminal{}})
		if len(stdout) != 60000 || r.ExitStatus != 3 {
			t.Fatalf("got %d bytes, %v; want 60000, exit status 3", len(stdout), r)
		}
	}
	for range 20 {
		stdout, _, r := run(t, ctx, c, agent.Command{Args: []string{"sh", "-c", "head -c 60000 /dev/zero | tr '\\0' x"}, Terminal: &agent.Terminal{}})
		if len(stdout) != 60000 || !r.Success() {
			t.Fatalf("got %d bytes, %v; want 60000", len(stdout), r)
		}
	}
	stdout, _, r := run(t, ctx, c, agent.Command{Args: []string{"cat"}, Stdin: strings.NewReader("line\n"), Terminal: &agent.Terminal{}})
	if stdout != "line\r\nline\r\n" || !r.Success() {
		t.Errorf("cat: got %q, %v", stdout, r)
	}
}

// The user owns the terminal, and has the user's shell.
func TestShell(t *testing.T) {
	ctx, c := connect(t)
	if os.Chown(t.TempDir(), 4242, 4343) != nil {
		t.Skip("needs root, and not only in a user namespace")
	}
	script := `stat -c %u "$(tty)"; echo "$0 $1 $SHELL"; : >/dev/tty && echo opened`
	stdout, _, r := run(t, ctx, c, agent.Command{Shell: true, Args: []string{"-c", script, "name", "argument"}, User: "4242:4343", Terminal: &agent.Terminal{}})
	if want := "4242\r\nname argument /bin/sh\r\nopened\r\n"; stdout != want || !r.Success() {
		t.Errorf("got %q, %v, want %q", stdout, r, want)
	}
}

func TestManyAtOnce(t *testing.T) {
	ctx, c := connect(t)
	var wg sync.WaitGroup
	for range 200 { // more than the protocol allows: the others wait
		wg.Add(1)
		go func() {
			defer wg.Done()
			var out bytes.Buffer
			r, err := c.Run(ctx, agent.Command{Args: []string{"cat"}, Stdin: io.LimitReader(zeros{}, 100_000), Stdout: &out})
			if err != nil || !r.Success() || out.Len() != 100_000 {
				t.Errorf("got %d bytes, %v, %v", out.Len(), r, err)
			}
		}()
	}
	wg.Wait()
}

// A writer that fails ends the command.
func TestFailingWriter(t *testing.T) {
	ctx, c := connect(t)
	_, err := c.Run(ctx, agent.Command{Args: []string{"cat", "/dev/zero"}, Stdout: failing{}})
	if !errors.Is(err, errFull) || !strings.Contains(err.Error(), "write standard output") {
		t.Errorf("got %v, want %v", err, errFull)
	}
}

var errFull = errors.New("full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }
