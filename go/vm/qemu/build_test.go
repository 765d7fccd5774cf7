package qemu

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/need"
)

func TestBuildOfScript(t *testing.T) {
	script := filepath.Join(t.TempDir(), "qemu")
	for _, content := range []string{"#!/bin/sh\n", "", "\x7fELF"} {
		if err := os.WriteFile(script, []byte(content), 0o777); err != nil {
			t.Fatal(err)
		}
		got, err := Build(script)
		if want := fmt.Sprintf("SHA-256 %x", sha256.Sum256([]byte(content))); got != want || err != nil || HasBuildID(got) {
			t.Errorf("%q: got %q, %v; want %q", content, got, err, want)
		}
	}
}

// Build agrees with file.
func TestBuildID(t *testing.T) {
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		need.Skip(t, "%v", err)
	}
	out, err := exec.Command("file", shell).Output()
	if err != nil {
		need.Skip(t, "%v", err)
	}
	match := regexp.MustCompile(`BuildID\[sha1\]=([0-9a-f]+)`).FindSubmatch(out)
	if match == nil {
		need.Skip(t, "the shell does not have a build ID: %s", out)
	}
	got, err := Build(shell)
	if want := "build ID " + string(match[1]); got != want || err != nil || !HasBuildID(got) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}
