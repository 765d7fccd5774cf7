package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// A sandbox is a scratch folder with a copy of the checkout (rules_qcow2), a
// workspace that depends on it, and the output bases of both.
type sandbox struct {
	ctx     context.Context
	scratch string
	module  string // the first MODULE.bazel of the README
}

// command returns one call of a program, which is not started.
func (s *sandbox) command(folder, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(s.ctx, name, args...)
	// SIGTERM lets Bazel end the build cleanly.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Dir = filepath.Join(s.scratch, folder)
	cmd.Env = os.Environ()
	return cmd
}

func (s *sandbox) bazel(args ...string) (string, error) {
	out, err := s.command("workspace", filepath.Join(s.scratch, "bin/bazel"), args...).CombinedOutput()
	return string(out), err
}

// checkModules lets Bazel evaluate each MODULE.bazel except the README's.
func (s *sandbox) checkModules(pages []*page) (problems []string) {
	path := filepath.Join(s.scratch, "workspace/MODULE.bazel")
	whole, err := os.ReadFile(path)
	if err != nil {
		return []string{err.Error()}
	}
	defer os.WriteFile(path, whole, 0o644)
	for _, p := range pages {
		for _, b := range p.blocks {
			if b.notRun != "" || b.kind() != kindModule || b.code == s.module {
				continue
			}
			module := b.code
			if !strings.Contains(module, `bazel_dep(name = "rules_qcow2"`) {
				module = s.module + module
			}
			if err := os.WriteFile(path, []byte(module), 0o644); err != nil {
				return append(problems, err.Error())
			}
			if out, err := s.bazel("mod", "graph", "--extension_info=all"); err != nil {
				problems = append(problems, fmt.Sprintf("%s: as a MODULE.bazel: %v\n%s", b.place(), err, out))
			}
		}
	}
	return problems
}

var quiet = []string{"--color=no", "--curses=no", "--noshow_progress", "--keep_going", "--test_output=errors", "--nozip_undeclared_test_outputs", "--test_timeout=120"}

// buildAndTest builds and tests the workspace. Its packages have the names of pages,
// so Bazel's messages show where an error is.
func (s *sandbox) buildAndTest(pages []*page) (problems []string) {
	out, err := s.bazel(append([]string{"build", "//..."}, quiet...)...)
	fmt.Print(out)
	if err != nil {
		problems = append(problems, fmt.Sprintf("bazel build of the snippets: %v", err))
	}
	test := []string{"test", "//:all"}
	if _, err := os.Stat(filepath.Join(s.scratch, "workspace/tested")); err == nil {
		test = append(test, "//tested/...")
	}
	out, err = s.bazel(append(test, quiet...)...)
	fmt.Print(out)
	if err != nil {
		problems = append(problems, fmt.Sprintf("bazel test of the snippets: %v", err))
	}
	for _, p := range pages {
		for _, output := range p.outputs {
			name := strings.Fields(output.text)[0]
			if _, err := os.Stat(filepath.Join(s.scratch, "workspace", name)); err != nil {
				problems = append(problems, fmt.Sprintf("%s:%d: the build did not create %s", p.path, output.line, name))
			}
		}
		for _, b := range p.blocks {
			if b.notRun != "" || b.kind() != kindFlags {
				continue
			}
			if out, err := s.checkFlags(b.code); err != nil {
				problems = append(problems, fmt.Sprintf("%s: %v\n%s", b.place(), err, out))
			}
		}
	}
	return problems
}

// checkFlags lets Bazel parse the flags of a .bazelrc, without any effect.
func (s *sandbox) checkFlags(rc string) (string, error) {
	lines := bufio.NewScanner(strings.NewReader(rc))
	for lines.Scan() {
		command, flags, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if command == "" || strings.HasPrefix(command, "#") {
			continue
		}
		command, _, _ = strings.Cut(command, ":")
		if command == "common" {
			command = "build"
		}
		args := append([]string{"canonicalize-flags", "--for_command=" + command, "--"}, strings.Fields(flags)...)
		if out, err := s.bazel(args...); err != nil {
			return out, fmt.Errorf("%s: %w", lines.Text(), err)
		}
	}
	return "", nil
}

// runCommands runs each block of commands: those of pages in docs/ in the workspace,
// those of other pages in the copy of the checkout.
func (s *sandbox) runCommands(pages []*page) (problems []string) {
	for _, p := range pages {
		folder := "rules_qcow2"
		if strings.HasPrefix(p.path, "docs/") {
			folder = "workspace"
		}
		for _, b := range p.blocks {
			if b.notRun != "" || b.kind() != kindCommands {
				continue
			}
			cmd := s.command(folder, "bash", "-euo", "pipefail", "-c", b.commands())
			env, err := s.environment(b)
			if err != nil {
				problems = append(problems, fmt.Sprintf("%s: %v", b.place(), err))
				continue
			}
			cmd.Env = append(cmd.Env, env...)
			if folder == "workspace" {
				cmd.Env = append(cmd.Env, "PATH="+filepath.Join(s.scratch, "bin")+":"+os.Getenv("PATH"))
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				problems = append(problems, fmt.Sprintf("%s: %v\n%s%s", b.place(), err, b.code, out))
			} else {
				fmt.Printf("%s: ran\n", b.place())
			}
		}
	}
	return problems
}

var target = regexp.MustCompile(`(?:^|\s)(//[\w/.:-]*)`)

// checkTargets checks that the targets of commands within text exist.
func (s *sandbox) checkTargets(pages []*page) (problems []string) {
	for _, p := range pages {
		for _, c := range p.code {
			if found := target.FindStringSubmatch(c.text); found != nil && strings.HasPrefix(c.text, "./bazelw ") {
				if out, err := s.command("rules_qcow2", "./bazelw", "query", found[1]).CombinedOutput(); err != nil {
					problems = append(problems, fmt.Sprintf("%s:%d: %s: %v\n%s", p.path, c.line, c.text, err, out))
				}
			}
		}
	}
	return problems
}

func (b *block) commands() string {
	var kept []string
	for _, line := range strings.Split(b.code, "\n") {
		skip := false
		for _, command := range b.skipped {
			skip = skip || strings.HasPrefix(line, command)
		}
		if !skip {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// environment returns the variables that tests and hooks of boot tests have.
func (s *sandbox) environment(b *block) ([]string, error) {
	tmp, err := os.MkdirTemp(s.scratch, "tmp")
	if err != nil {
		return nil, err
	}
	env := []string{
		"TMPDIR=" + tmp,
		"DISK=bazel-bin/disk.qcow2",
		"QCOW2GEN=bazel-bin/fixtures/qcow2gen",
		"VM_DISK0=bazel-bin/disk.qcow2",
		"VM_QEMU_IMG=qemu-img",
	}
	// Bazel would use it for its outputs as well, so set it only if needed.
	if strings.Contains(b.code, "$TEST_TMPDIR") {
		env = append(env, "TEST_TMPDIR="+tmp)
	}
	return env, nil
}

// cleanUp ends Bazel's servers and removes all files.
func (s *sandbox) cleanUp() {
	s.ctx = context.Background()
	s.bazel("shutdown")
	if _, err := os.Stat(filepath.Join(s.scratch, "output/rules_qcow2")); err == nil {
		s.command("rules_qcow2", "./bazelw", "shutdown").Run()
	}
	// Bazel's output folders are not writable.
	filepath.WalkDir(s.scratch, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			os.Chmod(path, 0o755)
		}
		return nil
	})
	if err := os.RemoveAll(s.scratch); err != nil {
		fmt.Println(err)
	}
}
