package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

//go:embed fixtures
var fixtures embed.FS

var (
	isModule = regexp.MustCompile(`(?m)^(?:\w+ = use_extension|bazel_dep|\w+_override|register_\w+|use_repo|\w+\.local)\(`)
	declared = regexp.MustCompile(`\b(?:name = |outs = \[)"([^"]+)"`)
	quoted   = regexp.MustCompile(`"(:?[A-Za-z_][\w.-]*)"`)
)

// A group is the files of one package, or a BUILD file alone.
type group struct {
	folder string
	blocks []*block
}

// groups sorts the blocks of a page into packages. A BUILD file ends a package.
func groups(p *page) []group {
	var all []group
	open := false
	for _, b := range p.blocks {
		if b.notRun != "" || b.kind() != kindFile {
			continue
		}
		if !open {
			top := "tested"
			if b.builtOnly {
				top = "built"
			}
			folder := fmt.Sprintf("%s/%s/line%d", top, p.path, b.line)
			if p.path == "README.md" && b.file == "BUILD.bazel" {
				folder = "" // commands in docs/ use its targets, such as //:disk
			}
			all = append(all, group{folder: folder})
		}
		last := &all[len(all)-1]
		last.blocks = append(last.blocks, b)
		open = !b.isBuild()
	}
	return all
}

func (b *block) isBuild() bool { return b.file == "" || b.file == "BUILD.bazel" }

type kind int

const (
	kindFile kind = iota
	kindModule
	kindCommands
	kindFlags
)

func (b *block) kind() kind {
	switch {
	case b.language == "bazelrc":
		return kindFlags
	case b.language == "sh" && b.file == "":
		return kindCommands
	case b.file == "MODULE.bazel" || b.file == "" && isModule.MatchString(b.code):
		return kindModule
	}
	return kindFile
}

// writePackages writes all packages, with aliases of the fixtures that they use.
func (s *sandbox) writePackages(checkout string, pages []*page) error {
	rules, err := exports(checkout)
	if err != nil {
		return err
	}
	fixture, err := fixtures.ReadFile("fixtures/fixtures.BUILD")
	if err != nil {
		return err
	}
	var available []string
	for _, found := range declared.FindAllSubmatch(fixture, -1) {
		available = append(available, string(found[1]))
	}
	for _, p := range pages {
		for _, g := range groups(p) {
			hasBuild := false
			for _, b := range g.blocks {
				name, code := b.file, b.code
				if b.isBuild() {
					hasBuild = true
					name = "BUILD.bazel"
					code = complete(code, rules, available, g)
				}
				if err := s.write(filepath.Join("workspace", g.folder, name), code); err != nil {
					return err
				}
			}
			if !hasBuild {
				return fmt.Errorf("%s: the files after it do not end with a BUILD.bazel", g.blocks[0].place())
			}
		}
	}
	return nil
}

// complete adds to a BUILD file the loads of rules, and aliases of fixtures for targets
// that it uses and does not declare.
func complete(code string, rules, available []string, g group) string {
	var before, after strings.Builder
	for _, rule := range rules {
		used := regexp.MustCompile(`(?m)^\s*` + rule + `\(|\b` + rule + `\b \+`)
		loaded := regexp.MustCompile(`load\([^)]*"` + rule + `"`)
		if used.MatchString(code) && !loaded.MatchString(code) {
			fmt.Fprintf(&before, "load(\"@rules_qcow2//:defs.bzl\", %q)\n", rule)
		}
	}
	seen := map[string]bool{}
	for _, found := range declared.FindAllStringSubmatch(code, -1) {
		seen[found[1]] = true
	}
	for _, b := range g.blocks {
		seen[b.file] = true
	}
	for _, found := range quoted.FindAllStringSubmatch(code, -1) {
		name := strings.TrimPrefix(found[1], ":")
		if seen[name] || !slices.Contains(available, name) || name == found[1] && !strings.Contains(name, ".") {
			continue
		}
		seen[name] = true
		fmt.Fprintf(&after, "\nalias(\n    name = %q,\n    actual = \"//fixtures:%s\",\n)\n", name, name)
	}
	return before.String() + code + after.String()
}

// readmeModule returns the first MODULE.bazel of the README.
func readmeModule(pages []*page) (string, error) {
	for _, p := range pages {
		for _, b := range p.blocks {
			if p.path == "README.md" && b.file == "MODULE.bazel" && b.notRun == "" {
				return b.code, nil
			}
		}
	}
	return "", errors.New("README.md does not have a block with the name MODULE.bazel")
}

// prepare makes the workspace next to a clean copy of the checkout, as in the README.
func (s *sandbox) prepare(checkout string, pages []*page) error {
	err := walkSources(checkout, func(path string, entry fs.DirEntry) error {
		content, err := os.ReadFile(filepath.Join(checkout, path))
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		target := filepath.Join(s.scratch, "rules_qcow2", path)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		return os.WriteFile(target, content, info.Mode())
	})
	if err != nil {
		return err
	}
	if s.module, err = readmeModule(pages); err != nil {
		return err
	}
	more, err := fixtures.ReadFile("fixtures/fixtures.MODULE")
	if err != nil {
		return err
	}
	build, err := fixtures.ReadFile("fixtures/fixtures.BUILD")
	if err != nil {
		return err
	}
	repositories, err := fixtures.ReadFile("fixtures/repositories.bzl")
	if err != nil {
		return err
	}
	rc, _ := os.ReadFile(filepath.Join(s.scratch, "rules_qcow2/user.bazelrc"))
	return errors.Join(
		s.write("workspace/MODULE.bazel", s.module+string(more)),
		s.write("workspace/fixtures/BUILD.bazel", string(build)),
		s.write("workspace/fixtures/repositories.bzl", string(repositories)),
		s.write("workspace/.bazelrc", s.startup("workspace")+"common --check_direct_dependencies=off\n"),
		s.write("rules_qcow2/user.bazelrc", string(rc)+s.startup("rules_qcow2")),
		// bazelw runs the bazel on PATH, which must not be this script.
		s.write("bin/bazel", fmt.Sprintf("#!/bin/sh\nPATH='%s' exec %s/rules_qcow2/bazelw \"$@\"\n", os.Getenv("PATH"), s.scratch)),
		s.writePackages(checkout, pages),
	)
}

func (s *sandbox) write(name, content string) error {
	path := filepath.Join(s.scratch, name)
	mode := fs.FileMode(0o644)
	if strings.HasSuffix(name, ".sh") || strings.HasPrefix(name, "bin/") {
		mode = 0o755
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), mode)
}

// startup returns startup flags of Bazel: an output base in the scratch folder, and the
// end of the server after 5 idle minutes, in case this process is killed.
func (s *sandbox) startup(workspace string) string {
	return fmt.Sprintf("startup --output_base=%s/output/%s\nstartup --max_idle_secs=300\n", s.scratch, workspace)
}
