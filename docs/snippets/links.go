package main

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// checkLinks finds broken links to files and anchors of the checkout.
func checkLinks(checkout string, pages []*page) (problems []string) {
	byPath := map[string]*page{}
	for _, p := range pages {
		byPath[p.path] = p
	}
	for _, p := range pages {
		for _, l := range p.links {
			if strings.Contains(l.destination, "://") || strings.HasPrefix(l.destination, "mailto:") {
				continue
			}
			destination, anchor, _ := strings.Cut(l.destination, "#")
			target := p.path
			if destination != "" {
				target = path.Join(path.Dir(p.path), destination)
			}
			if strings.HasPrefix(target, "../") {
				problems = append(problems, fmt.Sprintf("%s:%d: %s is outside the repository", p.path, l.line, l.destination))
			} else if _, err := os.Stat(filepath.Join(checkout, target)); err != nil {
				problems = append(problems, fmt.Sprintf("%s:%d: %s does not exist", p.path, l.line, l.destination))
			} else if page := byPath[target]; anchor != "" && (page == nil || !page.anchors[anchor]) {
				problems = append(problems, fmt.Sprintf("%s:%d: %s does not have the anchor #%s", p.path, l.line, target, anchor))
			}
		}
	}
	return problems
}

// inCheckout matches a command or path: it begins with ./, or has a folder.
var inCheckout = regexp.MustCompile(`^(?:\./)?[\w-][\w.-]*(?:/[\w.-]+)*/?(?: |$)`)

// checkPaths finds paths in HACKING.md and the README that do not exist.
func checkPaths(checkout string, pages []*page) (problems []string) {
	for _, p := range pages {
		if p.path != "README.md" && p.path != "HACKING.md" {
			continue
		}
		var folder words // a path on the same line, to which others may be relative
		for _, c := range p.code {
			name := strings.TrimSpace(inCheckout.FindString(c.text))
			if !strings.Contains(name, "/") || strings.HasPrefix(name, "bazel-") {
				continue
			}
			_, err := os.Stat(filepath.Join(checkout, name))
			if err == nil {
				folder = words{c.line, name}
			} else if folder.line == c.line {
				_, err = os.Stat(filepath.Join(checkout, folder.text, name))
			}
			if err != nil {
				problems = append(problems, fmt.Sprintf("%s:%d: %s does not exist", p.path, c.line, name))
			}
		}
	}
	return problems
}

// checkMessages finds messages in docs/troubleshooting.md that are not in the sources.
// A message is a strong code span. A message before "(QEMU)" or another name in
// parentheses is that program's.
func checkMessages(checkout string, pages []*page) (problems []string, err error) {
	var sources strings.Builder
	err = walkSources(checkout, func(path string, _ fs.DirEntry) error {
		if !strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, ".bzl") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		content, err := os.ReadFile(filepath.Join(checkout, path))
		sources.Write(content)
		return err
	})
	if err != nil {
		return nil, err
	}
	said := strings.ReplaceAll(sources.String(), `\`, "")
	for _, p := range pages {
		if p.path != "docs/troubleshooting.md" {
			continue
		}
		for _, m := range p.messages {
			for _, part := range strings.Split(m.text, "…") {
				if part = strings.Trim(part, ` "`); !strings.Contains(said, part) {
					problems = append(problems, fmt.Sprintf("%s:%d: no source has the message %q", p.path, m.line, part))
				}
			}
		}
		if len(p.messages) == 0 {
			problems = append(problems, p.path+": no messages found")
		}
	}
	return problems, nil
}

var exported = regexp.MustCompile(`(?m)^([A-Za-z]\w*) = _`)

// exports returns the public names of defs.bzl.
func exports(checkout string) ([]string, error) {
	content, err := os.ReadFile(filepath.Join(checkout, "defs.bzl"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, found := range exported.FindAllSubmatch(content, -1) {
		names = append(names, string(found[1]))
	}
	return names, nil
}

// checkSymbols finds exports of defs.bzl without a page in docs/api. Constants are
// documented as defaults.
func checkSymbols(checkout string, pages []*page) (problems []string, err error) {
	names, err := exports(checkout)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		documented := name == strings.ToUpper(name)
		for _, p := range pages {
			documented = documented || path.Dir(p.path) == "docs/api" && p.anchors[strings.ToLower(name)]
		}
		if !documented {
			problems = append(problems, fmt.Sprintf("defs.bzl: docs/api does not document %s; add it in docs/BUILD.bazel", name))
		}
	}
	return problems, nil
}
