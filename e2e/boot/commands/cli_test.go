package commands_test

import (
	"bufio"
	"errors"
	"image/png"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

// A cli runs the program vm with a machine.
type cli struct {
	t       *testing.T
	program string
	socket  string
}

func rlocation(t *testing.T, variable string) string {
	t.Helper()
	path, err := runfiles.Rlocation(os.Getenv(variable))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func startCLI(t *testing.T) *cli {
	t.Helper()
	c := &cli{t: t, program: rlocation(t, "VM_PROGRAM")}
	socket, errs, status := c.run("start", "-t", "1m", rlocation(t, "FORWARDING_VM"))
	if status != 0 {
		t.Fatalf("vm start: exit status %d: %s", status, errs)
	}
	c.socket = strings.TrimSpace(socket)
	t.Cleanup(func() { c.run("stop") })
	c.want("", 0, "copy", rlocation(t, "PROGRAM"), ":/program")
	return c
}

func (c *cli) command(args ...string) *exec.Cmd {
	cmd := exec.Command(c.program, args...)
	cmd.Env = append(os.Environ(), "VM_SOCKET="+c.socket)
	return cmd
}

func (c *cli) run(args ...string) (stdout, stderr string, status int) {
	c.t.Helper()
	var out, errs strings.Builder
	cmd := c.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// want checks the standard output and the exit status.
func (c *cli) want(stdout string, status int, args ...string) {
	c.t.Helper()
	if out, errs, got := c.run(args...); out != stdout || got != status {
		c.t.Errorf("vm %q: got %q, exit status %d (%s); want %q, %d", args, out, got, errs, stdout, status)
	}
}

// fails checks the exit status and the error, which has no other lines.
func (c *cli) fails(message string, status int, args ...string) {
	c.t.Helper()
	if out, errs, got := c.run(args...); out != "" || errs != "vm: "+message+"\n" || got != status {
		c.t.Errorf("vm %q: got exit status %d, %q, %q; want %d, %q", args, got, out, errs, status, "vm: "+message+"\n")
	}
}

// reports checks the exit status and the error, which has the end of the console.
func (c *cli) reports(message string, status int, args ...string) {
	c.t.Helper()
	out, errs, got := c.run(args...)
	if out != "" || !strings.HasPrefix(errs, "vm: "+message+"\n  ") || !strings.Contains(errs, "  last lines of the console") || got != status {
		c.t.Errorf("vm %q: got exit status %d, %q, %q; want %d, %q and the end of the console", args, got, out, errs, status, "vm: "+message)
	}
}

func TestCLI(t *testing.T) {
	c := startCLI(t)
	c.want("two words\n", 0, "exec", "--", "/program", "echo", "two", "words")
	c.want("a\nb\xff\n", 0, "exec", "/program", "echo", "a\nb\xff")
	c.want("value in /dev\n", 0, "exec", "-e", "NAME=value", "-C", "/dev", "--", "/program", "environment", "NAME")
	c.want("", 3, "exec", "--", "/program", "exit", "3")
	c.want("", 128+9, "exec", "--", "/program", "killed")
	if _, errs, status := c.run("exec", "-t", "1s", "--", "/program", "serve", ":81"); status != 1 || errs != `vm: ["/program" "serve" ":81"] did not end within 1s`+"\n" {
		t.Errorf("vm exec -t 1s: exit status %d, %q", status, errs)
	}
	c.fails(`run "/none": no such file or directory`, 1, "exec", "--", "/none")
	c.fails(`user "daemon": /etc/passwd has no "daemon"`, 1, "exec", "-u", "daemon", "--", "/program", "echo")
	// As with cp.
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.want("", 0, "copy", filepath.Join(dir, "file"), ":/tmp")
	c.want("", 0, "copy", dir+"/.", ":/tmp/contents")
	c.want("", 0, "copy", ":/tmp", dir)
	for _, name := range []string{"tmp/file", "tmp/contents/file"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != "text" {
			t.Errorf("%s: got %q, %v", name, b, err)
		}
	}
	c.want("", 0, "wait-for", "--", "/program", "echo")
	c.reports(`["/program" "exit" "4"] did not succeed: waited 2s; last: exit status 4`+"\n  standard error:\n  | the status is 4", 1,
		"wait-for", "-t", "2s", "--", "/program", "exit", "4")
	c.want("", 0, "exec", "--", "/program", "log", "first line")
	c.want("", 0, "exec", "--", "/program", "log", "second line")
	c.want("", 0, "expect", "^first line$", "^second")
	c.reports(`the console did not show "never": waited 1s`, 1, "expect", "-t", "1s", "never")
	c.fails(`expect: "(" is not a regular expression in Go's syntax: error parsing regexp: missing closing ): `+"`(`", 1, "expect", "(")
	c.fails(`copy: "a" and "b": exactly one must be in the guest, as in :/etc/hosts`, 2, "copy", "a", "b")
	c.fails("lstat /none: no such file or directory", 1, "copy", ":/none", t.TempDir())
	c.fails(`path "file" must be absolute`, 1, "copy", c.program, ":file")
	c.fails("copy: got 1 arguments, want 2; see vm -h", 2, "copy", "a")
	c.fails("exec: an argument is missing; see vm -h", 2, "exec")
	c.fails("exec: flag provided but not defined: -x; see vm -h", 2, "exec", "-x")
	c.fails(`unknown command "run"; see vm -h`, 2, "run")
	c.fails("a command is missing; see vm -h", 2)

	c.want("", 0, "wait-for-file", "/tmp/file")
	c.reports("/none does not exist in the guest: waited 1s", 1, "wait-for-file", "-t", "1s", "/none")
	c.reports("nothing accepts connections at port 82 of the guest: waited 1s; last: dial tcp 127.0.0.1:82: connect: connection refused", 1,
		"wait-for-port", "-t", "1s", "82")
	c.fails(`wait-for-port: "http" is not a TCP port; it must be a number from 1 to 65535`, 2, "wait-for-port", "http")
	if err := c.command("exec", "--", "/program", "serve", "127.0.0.1:82").Start(); err != nil {
		t.Fatal(err)
	}
	c.want("", 0, "wait-for-port", "82")
	address, _, _ := c.run("forward", "82")
	if response, err := http.Get("http://" + strings.TrimSpace(address) + "/page"); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("vm forward: %q: got %v, %v", address, response, err)
	}
	if _, errs, status := c.run("wait-for-unit", "x.service"); status != 1 || !strings.Contains(errs, `run "systemctl": program not found`) {
		t.Errorf("vm wait-for-unit: exit status %d, %q", status, errs)
	}

	ports, _, _ := c.run("ports")
	if !regexp.MustCompile(`^tcp:80 127\.0\.0\.1:[1-9][0-9]*\n$`).MatchString(ports) {
		t.Errorf("vm ports: got %q", ports)
	}
	picture := filepath.Join(t.TempDir(), "screen.png")
	c.want("", 0, "screenshot", picture)
	f, err := os.Open(picture)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := png.Decode(f); err != nil {
		t.Error(err)
	}

	c.want("", 0, "reset")
	c.fails(`run "/program": no such file or directory`, 1, "exec", "--", "/program", "echo")
	c.want("", 0, "stop")
	if _, errs, status := c.run("exec", "--", "/program", "echo"); status != 1 || !strings.HasPrefix(errs, "vm: the machine is not running: ") {
		t.Errorf("vm exec of a machine that ended: got exit status %d, %q", status, errs)
	}
	c.socket = ""
	c.fails("exec: $VM_SOCKET is not set; start a machine with vm start, or run in run_while_up", 2, "exec", "--", "/program")
}

// A signal to vm exec ends the command in the guest.
func TestCLIIsInterrupted(t *testing.T) {
	c := startCLI(t)
	serve := func() *exec.Cmd {
		cmd := c.command("exec", "--", "/program", "serve", ":80")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "listening\n" {
			t.Fatalf("got %q, %v", line, err)
		}
		return cmd
	}
	server := serve()
	c.want("hello from /page", 0, "exec", "--", "/program", "get", "http://127.0.0.1/page")
	server.Process.Signal(os.Interrupt)
	if err := server.Wait(); err == nil || server.ProcessState.ExitCode() != 1 {
		t.Errorf("vm exec: %v, want exit status 1", err)
	}
	// vm exec ends before the guest has closed the server's socket.
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		_, errs, status := c.run("exec", "--", "/program", "get", "http://127.0.0.1/page")
		if status == 1 && strings.Contains(errs, "connection refused") {
			break
		} else if time.Now().After(end) {
			t.Fatalf("the server still runs: exit status %d, %q", status, errs)
		}
	}
}

// A machine ends with the process that started it, however that ends.
func TestCLICallerIsKilled(t *testing.T) {
	c := &cli{t: t, program: rlocation(t, "VM_PROGRAM")}
	tmp := t.TempDir()
	caller := c.command()
	caller.Path, caller.Args = "/bin/sh", []string{"sh", "-c", `"$0" start "$1" && exec sleep 1000`, c.program, rlocation(t, "FORWARDING_VM")}
	caller.Env = append(caller.Env, "TEST_TMPDIR="+tmp)
	caller.Stderr = os.Stderr
	out, err := caller.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := caller.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { caller.Process.Kill() })
	socket, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("vm start: %q, %v", socket, err)
	}
	if len(processesOf(t, tmp)) == 0 {
		t.Error("no process of the machine was found while it ran")
	}
	caller.Process.Kill()
	caller.Wait()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		left, err := filepath.Glob(filepath.Join(tmp, "*"))
		if processes := processesOf(t, tmp); len(processes) == 0 && len(left) == 0 && err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatalf("left: processes %v, files %q", processes, left)
		}
	}
}

// processesOf returns the processes that have a path on their command lines.
func processesOf(t *testing.T, path string) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		line, _ := os.ReadFile(file)
		if pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file))); strings.Contains(string(line), path) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// A machine ends before Bazel kills its test, and says so to whom uses it.
func TestCLITimeIsOver(t *testing.T) {
	outputs := t.TempDir()
	t.Setenv("TEST_TIMEOUT", "30")
	t.Setenv("TEST_UNDECLARED_OUTPUTS_DIR", outputs)
	c := startCLI(t)
	c.want("", 0, "exec", "--", "/program", "log", "the last line")
	c.reports(`the console did not show "never": the test's time limit is nearly over`, 1, "expect", "never")
	if _, errs, status := c.run("exec", "--", "/program", "echo"); status != 1 || !strings.HasPrefix(errs, "vm: the machine is not running: ") {
		t.Errorf("vm exec after the end: got exit status %d, %q", status, errs)
	}
	logs, err := filepath.Glob(filepath.Join(outputs, "*", "console.log"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("got the logs %q, %v", logs, err)
	}
	if console, err := os.ReadFile(logs[0]); err != nil || !strings.Contains(string(console), "the last line") {
		t.Errorf("%s: %q, %v", logs[0], console, err)
	}
}

func TestCLIStartFails(t *testing.T) {
	c := &cli{t: t, program: rlocation(t, "VM_PROGRAM")}
	c.fails("start: /bin/sh is not a qemu_vm: /bin/sh.vm.json does not exist", 1, "start", "/bin/sh")
	c.fails("start: got 0 arguments, want the path of one target; see vm -h", 1, "start")
	if _, errs, status := c.run("start", "-t", "1ms", rlocation(t, "FORWARDING_VM")); status != 1 ||
		!strings.HasPrefix(errs, "vm: start: //commands:forwarding_vm: the agent did not answer: waited 1ms; ") {
		t.Errorf("vm start -t 1ms: exit status %d, %q", status, errs)
	}
}

// The executable of a qemu_vm runs one command.
func TestExecutable(t *testing.T) {
	c := &cli{t: t, program: rlocation(t, "VM")}
	c.want("", 0, "exec", "--", "/rules_qcow2/agent", "-help")
	c.want("", 2, "exec", "/rules_qcow2/agent", "-x") // as package flag ends
	if _, errs, status := c.run("exec", "--", "uname", "-a"); status != 1 || !strings.HasPrefix(errs, `//commands:vm: ["uname" "-a"]: run "uname": program not found in PATH=`) {
		t.Errorf("exec of a program that the guest does not have: exit status %d, %q", status, errs)
	}
	if _, errs, status := c.run("exec"); status != 1 || errs != "//commands:vm: exec needs a command, as in: exec -- uname -a\n" {
		t.Errorf("exec without a command: exit status %d, %q", status, errs)
	}
}
