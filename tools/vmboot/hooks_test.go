package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestHookFails checks that the error of a hook names its program and says how it ended.
func TestHookFails(t *testing.T) {
	for script, want := range map[string]string{
		"exit 7":     "run_after: hook.sh ended with exit status 7, want exit status 0; its output is above",
		"kill -9 $$": "run_after: hook.sh was killed by signal 9 (killed), want exit status 0; its output is above",
	} {
		program := filepath.Join(t.TempDir(), "hook.sh")
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script+"\n"), 0o777); err != nil {
			t.Fatal(err)
		}
		h := &hooks{}
		if err := h.runAfter(t.Context(), program); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", script, err, want)
		}
	}
}

// TestStoppedBy checks that the error of a signal names it.
func TestStoppedBy(t *testing.T) {
	for signal, want := range map[syscall.Signal]string{
		syscall.SIGHUP:  "stopped by SIGHUP, as from a terminal that was closed",
		syscall.SIGINT:  "stopped by SIGINT, as from Ctrl-C",
		syscall.SIGTERM: "stopped by SIGTERM, which Bazel sends when a test's timeout is over or a build is canceled; if the test needs more time, set a longer timeout",
	} {
		if got := stoppedBy(signal).Error(); got != want {
			t.Errorf("%v: got %q, want %q", signal, got, want)
		}
	}
}
