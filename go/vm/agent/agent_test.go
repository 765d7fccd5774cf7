package agent_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
)

// program is the agent. Bazel builds it; go test builds it here.
var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if path := os.Getenv("AGENT"); path != "" {
			var err error
			if program, err = runfiles.Rlocation(path); err != nil {
				panic(err)
			}
			return m.Run()
		}
		dir, err := os.MkdirTemp("", "agent")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "agent")
		build := exec.Command("go", "build", "-o", program, "github.com/rules-qcow2/rules_qcow2/guest/agentd")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			panic(err)
		}
		return m.Run()
	}())
}

// pair returns two connected sockets: the host's end and the guest's.
func pair(t testing.TB) (net.Conn, *os.File) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	host := os.NewFile(uintptr(fds[0]), "host")
	defer host.Close()
	conn, err := net.FileConn(host)
	if err != nil {
		t.Fatal(err)
	}
	return conn, os.NewFile(uintptr(fds[1]), "guest")
}

// startAgent starts the agent as a process of this machine.
func startAgent(t testing.TB, guest *os.File) *exec.Cmd {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the agent runs on Linux")
	}
	cmd := exec.Command(program, "-fd", "3")
	cmd.ExtraFiles = []*os.File{guest}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	guest.Close()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

// connect starts an agent and a session with it.
func connect(t testing.TB) (context.Context, *agent.Client) {
	t.Helper()
	conn, guest := pair(t)
	startAgent(t, guest)
	return connectTo(t, conn)
}

func connectTo(t testing.TB, conn net.Conn) (context.Context, *agent.Client) {
	t.Helper()
	// A test that hangs fails with its own message.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	c, err := agent.New(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return ctx, c
}

// groupRuns looks for processes of the group in the output of ps that are not
// zombies.
func groupRuns(ps string, group int) bool {
	for line := range strings.Lines(ps) {
		f := strings.Fields(line)
		if len(f) == 2 && f[0] == strconv.Itoa(group) && f[1][0] != 'Z' {
			return true
		}
	}
	return false
}
