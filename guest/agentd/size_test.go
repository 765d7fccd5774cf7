//go:build linux

package main

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

// maxSize bounds, in bytes, the agent, which each guest loads before it boots.
const maxSize = 4_000_000

// The agents for both architectures are small, and need no other files.
func TestPrograms(t *testing.T) {
	for _, test := range []struct {
		goarch  string
		machine elf.Machine
	}{{"amd64", elf.EM_X86_64}, {"arm64", elf.EM_AARCH64}} {
		t.Run(test.goarch, func(t *testing.T) {
			path := buildAgent(t, test.goarch)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Size() > maxSize {
				t.Errorf("the agent has %d bytes, want at most %d", info.Size(), maxSize)
			}
			program, err := elf.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer program.Close()
			if program.Machine != test.machine {
				t.Errorf("the agent is for %v, want %v", program.Machine, test.machine)
			}
			for _, segment := range program.Progs {
				if segment.Type == elf.PT_INTERP {
					t.Error("the agent is not static: it has an interpreter")
				}
			}
			if libraries, err := program.ImportedLibraries(); err != nil || len(libraries) > 0 {
				t.Errorf("the agent needs libraries: %q, %v", libraries, err)
			}
		})
	}
}

// buildAgent returns the path of the program. Bazel has built it; else go build does.
func buildAgent(t *testing.T, goarch string) string {
	t.Helper()
	if location := os.Getenv("AGENT_" + goarch); location != "" {
		path, err := runfiles.Rlocation(location)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := filepath.Join(t.TempDir(), "agent")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+goarch)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	return path
}
