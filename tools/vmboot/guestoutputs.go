package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
)

// A testOutput is a file or folder that a test writes for Bazel, which names it in a
// variable.
type testOutput struct {
	variable string
	name     string // in guestOutputs
	folder   bool   // the test finds it as a folder
}

// testOutputs are copied in this order: the files that the result depends on come first.
var testOutputs = []testOutput{
	{"TEST_PREMATURE_EXIT_FILE", "premature_exit", false},
	{"TEST_SHARD_STATUS_FILE", "shard_status", false},
	{"XML_OUTPUT_FILE", "test.xml", false},
	{"TEST_INFRASTRUCTURE_FAILURE_FILE", "infrastructure_failure", false},
	{"TEST_WARNINGS_OUTPUT_FILE", "warnings", false},
	{"TEST_LOGSPLITTER_OUTPUT_FILE", "logsplitter", false},
	{"TEST_UNUSED_RUNFILES_LOG_FILE", "unused_runfiles", false},
	{"COVERAGE_OUTPUT_FILE", "coverage.dat", false},
	{"COVERAGE_DIR", "coverage", true},
	{"TEST_UNDECLARED_OUTPUTS_ANNOTATIONS_DIR", "annotations", true},
	{"TEST_UNDECLARED_OUTPUTS_DIR", "undeclared", true},
}

// collect copies the test's outputs to where Bazel expects them.
func (t *inGuestTest) collect(m *vm.Machine, client *agent.Client) error {
	var ctx context.Context
	var stop func()
	if t.signaled.IsZero() {
		ctx, stop = t.untilSignal(m, "its outputs were copied")
	} else {
		ctx, stop = context.WithDeadlineCause(context.Background(), t.signaled.Add(grace), fmt.Errorf("%v after its signal, they were not complete", grace))
	}
	defer stop()
	for _, output := range testOutputs {
		to := os.Getenv(output.variable)
		if to == "" {
			continue
		}
		// Bazel and caches read holes, too.
		err := client.CopyFrom(ctx, path.Join(guestOutputs, output.name), to, agent.CopyOptions{MaxSize: agent.DefaultMaxBytes})
		if errors.Is(err, fs.ErrNotExist) && ctx.Err() == nil {
			continue
		}
		if err == nil && output.folder {
			err = removeLinks(to)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", output.variable, err)
		}
	}
	return nil
}

// removeLinks removes the links in a folder that lead out of it: there they mean a file
// of the guest, and here one of the host.
func removeLinks(root string) error {
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type() != fs.ModeSymlink {
			return err
		}
		target, err := filepath.EvalSymlinks(path)
		if err == nil {
			if inside, err := filepath.Rel(root, target); err == nil && filepath.IsLocal(inside) {
				return nil
			}
		}
		fmt.Fprintf(os.Stderr, "%s is a link out of the test's outputs, and is left out\n", path)
		return os.Remove(path)
	})
}
