// Package worker runs a command line in the two ways that Bazel's actions use:
// with its arguments in a file, and as a persistent worker, a process that many
// actions share.
//
// The protocol is https://bazel.build/remote/creating in JSON. Workers are
// multiplexed: they answer requests in any order.
package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/rules-qcow2/rules_qcow2/tools/qcow2gen/tempfile"
)

// A Command runs a command line, which begins with the program's name, and
// returns its exit code. Several goroutines call it at the same time. stdin is
// nil if the process reads requests from there.
type Command func(args []string, stdin io.Reader, stdout, stderr io.Writer) int

// Main runs the command line args, which begins with the program's name:
//
//   - If the only argument is --persistent_worker, it runs command for each
//     request on stdin until stdin ends, and writes the responses to stdout. A
//     signal ends it as [tempfile.HandleSignals] says.
//   - If the only argument is @FILE, the lines of FILE are the arguments.
//   - Otherwise it runs command with args.
//
// It returns the exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer, command Command) int {
	if len(args) != 2 {
		return command(args, stdin, stdout, stderr)
	}
	program, argument := args[0], args[1]
	if argument == "--persistent_worker" {
		tempfile.HandleSignals() // once, before any request: they share the process
		if err := serve(program, stdin, stdout, command); err != nil {
			fmt.Fprintf(stderr, "%s: persistent worker: %s\n", program, err)
			return 1
		}
		return 0
	}
	if file, ok := strings.CutPrefix(argument, "@"); ok {
		lines, err := readLines(file)
		if err != nil {
			fmt.Fprintf(stderr, "%s: cannot read arguments: %s\n", program, err)
			return 1
		}
		args = append([]string{program}, lines...)
	}
	return command(args, stdin, stdout, stderr)
}

// readLines reads a param file of Bazel in the format "multiline".
func readLines(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil || len(text) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), nil
}

// A workRequest is Bazel's WorkRequest without the fields that are not used here.
// Paths are relative to the working directory of the worker.
type workRequest struct {
	Arguments []string `json:"arguments"` // without the program's name
	RequestID int      `json:"requestId"`
}

type workResponse struct {
	ExitCode  int    `json:"exitCode"`
	Output    string `json:"output"`
	RequestID int    `json:"requestId"`
}

// serve returns after it has answered all requests.
func serve(program string, requests io.Reader, responses io.Writer, command Command) error {
	var (
		running sync.WaitGroup
		mu      sync.Mutex // for encoder and failed
		encoder = json.NewEncoder(responses)
		failed  error
	)
	for decoder := json.NewDecoder(requests); ; {
		var request workRequest
		err := decoder.Decode(&request)
		if err != nil {
			running.Wait()
			if errors.Is(err, io.EOF) {
				return failed
			}
			return err
		}
		running.Add(1)
		go func() {
			defer running.Done()
			var output strings.Builder
			code := command(append([]string{program}, request.Arguments...), nil, &output, &output)
			mu.Lock()
			defer mu.Unlock()
			if err := encoder.Encode(workResponse{code, output.String(), request.RequestID}); err != nil {
				failed = err // Bazel has closed the pipe and sends no more requests
			}
		}()
	}
}
