package control

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/internal/fakeqemu"
)

func TestMain(m *testing.M) {
	fakeqemu.Main()
	os.Exit(m.Run())
}

// agentProgram returns the path of the agent. Bazel builds it; go test builds it here.
func agentProgram(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("AGENT"); path != "" {
		program, err := runfiles.Rlocation(path)
		if err != nil {
			t.Fatal(err)
		}
		return program
	}
	program := filepath.Join(t.TempDir(), "agent")
	build := exec.Command("go", "build", "-o", program, "github.com/rules-qcow2/rules_qcow2/guest/agentd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// serve starts a server for a machine whose guest is this host. do sends it a request
// with a standard input; the outputs are dropped.
func serve(t *testing.T) (do func(request *Request, stdin *os.File) (*Response, error)) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the agent runs on Linux")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &machine.Config{
		Target: "//:fake", QEMU: self, Arch: "x86_64", Machine: "q35", CPUModel: "max", CPUs: 1, Memory: "32M", Accel: "tcg",
		Agent: machine.AgentInstalled, QEMUArgs: fakeqemu.ArgsWithAgent(agentProgram(t)),
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	m, err := vm.Start(ctx, c, vm.Options{Dir: t.TempDir(), Agent: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	s, err := Listen(m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	return func(request *Request, stdin *os.File) (*Response, error) {
		if stdin == nil {
			stdin = null
		}
		return Do(ctx, s.Socket, request, [3]*os.File{stdin, null, null})
	}
}

// shellCommand is a request for a line of the guest's shell.
func shellCommand(line string) *Request {
	return &Request{Exec: &Exec{Args: [][]byte{[]byte("sh"), []byte("-c"), []byte(line)}}}
}

// A command reads the client's standard input. After its end, the input is for other
// programs.
func TestExecLeavesInput(t *testing.T) {
	do := serve(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	io.WriteString(w, "for the command\n")
	if response, err := do(shellCommand(`read line && [ "$line" = "for the command" ]`), r); err != nil || response.ExitStatus != 0 {
		t.Fatalf("got %+v, %v", response, err)
	}
	before := runtime.NumGoroutine()
	for _, line := range []string{"first", "second", "third", "fourth"} {
		if _, err := do(shellCommand("true"), r); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, line)
		got := make(chan string, 1)
		go func() {
			b := make([]byte, 100)
			n, _ := r.Read(b)
			got <- string(b[:n])
		}()
		select {
		case got := <-got:
			if got != line {
				t.Errorf("got %q, want %q", got, line)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%q was lost", line)
		}
	}
	// Nothing is left behind either if no line follows.
	if _, err := do(shellCommand("true"), r); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, want %d", runtime.NumGoroutine(), before)
		}
	}
}

// Without Into, a file does not replace a folder. With Into, the copy is in the folder.
func TestCopyInto(t *testing.T) {
	do := serve(t)
	for _, toGuest := range []bool{true, false} {
		dir := t.TempDir()
		file, folder := filepath.Join(dir, "file"), filepath.Join(dir, "folder")
		if err := os.WriteFile(file, []byte("content"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		_, err := do(&Request{Copy: &Copy{From: file, To: folder, ToGuest: toGuest}}, nil)
		if want := folder + " is a directory, and the copy is not; give the copy another name"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("to the guest: %v: got %v, want %q", toGuest, err, want)
		}
		if _, err := do(&Request{Copy: &Copy{From: file, To: folder, ToGuest: toGuest, Into: true}}, nil); err != nil {
			t.Errorf("to the guest: %v: %v", toGuest, err)
		}
		if got, err := os.ReadFile(filepath.Join(folder, "file")); err != nil || string(got) != "content" {
			t.Errorf("to the guest: %v: got %q, %v", toGuest, got, err)
		}
	}
}
