package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A workerProcess is a running persistent worker.
type workerProcess struct {
	*exec.Cmd
	requests  *json.Encoder
	responses *json.Decoder
	ended     chan struct{}
}

// startWorker starts a worker in dir. The cleanup of the test kills it if it
// still runs.
func startWorker(t *testing.T, dir string, environment []string) *workerProcess {
	t.Helper()
	cmd := program(t, dir, environment, "--persistent_worker")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer answers.Close()
	cmd.Stdout, cmd.Stderr = answers, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := &workerProcess{cmd, json.NewEncoder(stdin), json.NewDecoder(stdout), make(chan struct{})}
	go func() {
		cmd.Wait()
		close(w.ended)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-w.ended
		stdout.Close()
	})
	return w
}

// send sends a request to run a command line.
func (w *workerProcess) send(t *testing.T, id int, args ...string) {
	t.Helper()
	if err := w.requests.Encode(map[string]any{"arguments": args, "requestId": id}); err != nil {
		t.Fatal(err)
	}
}

// mustSucceed reads the response to a request and ends the test if the request
// failed.
func (w *workerProcess) mustSucceed(t *testing.T) {
	t.Helper()
	var response struct {
		ExitCode int
		Output   string
	}
	if err := w.responses.Decode(&response); err != nil || response.ExitCode != 0 {
		t.Fatalf("response is %+v (%v), want exit code 0", response, err)
	}
}

// terminate sends SIGTERM and checks that the worker ends by it.
func (w *workerProcess) terminate(t *testing.T) {
	t.Helper()
	if err := w.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.ended:
	case <-time.After(5 * time.Second): // it ends within milliseconds, or never
		t.Fatal("the worker ignores SIGTERM")
	}
	status := w.ProcessState.Sys().(syscall.WaitStatus)
	if w.ProcessState.ExitCode() != 128+int(syscall.SIGTERM) && status.Signal() != syscall.SIGTERM {
		t.Errorf("the worker ended with %v, want an end by SIGTERM", w.ProcessState)
	}
}

// TestWorkerTerminatesAfterReplacing replaces a file that exists, and then
// terminates the worker while it waits for a request.
func TestWorkerTerminatesAfterReplacing(t *testing.T) {
	both(t, func(t *testing.T, environment []string) {
		dir := t.TempDir()
		writeFile(t, "an older file", dir, "t.qcow2")
		w := startWorker(t, dir, environment)
		w.send(t, 1, "create", "-q", "t.qcow2", "1M")
		w.mustSucceed(t)
		w.terminate(t)
	})
}

// TestWorkerTerminatesAfterCreating is the same without a file to replace.
func TestWorkerTerminatesAfterCreating(t *testing.T) {
	both(t, func(t *testing.T, environment []string) {
		dir := t.TempDir()
		w := startWorker(t, dir, environment)
		w.send(t, 1, "create", "-q", "t.qcow2", "1M")
		w.mustSucceed(t)
		w.terminate(t)
	})
}

// TestWorkerRemovesAllTemporaryFiles terminates a worker while it runs several
// requests. Each of them has a temporary file then.
func TestWorkerRemovesAllTemporaryFiles(t *testing.T) {
	const requests = 8
	for attempt := 0; ; attempt++ {
		dir := t.TempDir()
		w := startWorker(t, dir, []string{namedTemporary + "=1"})
		for n := range requests {
			sub := fmt.Sprint(n)
			if err := os.Mkdir(filepath.Join(dir, sub), 0o777); err != nil {
				t.Fatal(err)
			}
			w.send(t, n, createArgs(strings.Replace(slowImage, "t.qcow2", sub+"/t.qcow2", 1)+"512M")...)
		}
		for n := range requests {
			for found := false; !found; {
				entries, _ := os.ReadDir(filepath.Join(dir, fmt.Sprint(n)))
				found = len(entries) > 0
			}
		}
		w.terminate(t)
		whole := 0
		files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if filepath.Base(name) == "t.qcow2" {
				whole++ // this request was faster than the signal
			} else {
				t.Errorf("%s is left behind", name)
			}
		}
		if whole < requests-1 || t.Failed() {
			return
		}
		if attempt == 20 {
			t.Fatal("no signal came while several requests ran")
		}
	}
}

// TestWorkerTerminatesWhileReplacing terminates a worker at a random moment
// while it replaces files: each is as before or new, and nothing else is there.
func TestWorkerTerminatesWhileReplacing(t *testing.T) {
	both(t, func(t *testing.T, environment []string) {
		dir := t.TempDir()
		mustRun(t, dir, "create", "-q", "t.qcow2", "1M")
		whole := readFile(t, dir, "t.qcow2")
		const old = "an older file"
		for n := range 40 {
			writeFile(t, old, dir, "t.qcow2")
			w := startWorker(t, dir, environment)
			for id := range 50 {
				w.send(t, id, "create", "-q", "t.qcow2", "1M")
			}
			for range n { // the others are running or done
				w.mustSucceed(t)
			}
			w.terminate(t)
			checkWholeOrNone(t, dir, old, whole, true)
		}
	})
}
