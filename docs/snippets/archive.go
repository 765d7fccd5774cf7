package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// An archive knows what the archive of a release leaves out: the patterns with
// export-ignore in .gitattributes.
type archive struct{ patterns []string }

func newArchive(checkout string) (archive, error) {
	content, err := os.ReadFile(filepath.Join(checkout, ".gitattributes"))
	var a archive
	for line := range strings.Lines(string(content)) {
		if pattern, ok := strings.CutSuffix(strings.TrimSpace(line), " export-ignore"); ok {
			a.patterns = append(a.patterns, strings.TrimSpace(pattern))
		}
	}
	return a, err
}

// has reports whether a file or folder of the checkout is in the archive.
func (a archive) has(name string) bool {
	for ; name != "."; name = path.Dir(name) {
		for _, pattern := range a.patterns {
			whole, candidate := name, pattern
			if rooted, ok := strings.CutPrefix(pattern, "/"); ok {
				candidate = rooted
			} else {
				whole = path.Base(name)
			}
			if match, _ := path.Match(candidate, whole); match {
				return false
			}
		}
	}
	return true
}

// checkArchive finds links of pages in the archive to what is not in it. On the web,
// a full address finds it.
func checkArchive(checkout string, pages []*page) (problems []string, err error) {
	a, err := newArchive(checkout)
	if err != nil {
		return nil, err
	}
	for _, p := range pages {
		if !a.has(p.path) {
			continue
		}
		for _, l := range p.links {
			destination, _, _ := strings.Cut(l.destination, "#")
			if destination == "" || strings.Contains(destination, ":") {
				continue
			}
			if target := path.Join(path.Dir(p.path), destination); !a.has(target) {
				problems = append(problems, fmt.Sprintf("%s:%d: the archive of a release does not have %s; link to its address on the web", p.path, l.line, target))
			}
		}
	}
	return problems, nil
}
