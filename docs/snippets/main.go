// Command snippets runs the code in the documentation: it writes the BUILD files,
// programs and MODULE.bazel files of the Markdown pages to a workspace that depends on
// the ruleset, builds and tests the workspace, runs the commands, and checks links.
// ../check.sh runs it.
//
// A block of code with a language is run, unless a comment above it says why not:
//
//	<!-- not run: it needs a release -->
//	<!-- built, not run: there is no kernel here -->
//	<!-- not run: `./test.sh`: it runs this check -->
//
// The last form is for one command of the block. A paragraph that ends in a file name
// and a colon, such as "`disk_test.go`:", names the block below it. Such blocks are the
// files of one package, up to its BUILD.bazel. A Starlark block without a name is a
// package's BUILD file, or a MODULE.bazel. A BUILD file need not load rules or declare
// the targets that it uses: the loads are added, and the targets come from fixtures/.
package main

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

func main() {
	log.SetFlags(0)
	checkout := flag.String("checkout", ".", "folder of the ruleset")
	lint := flag.Bool("lint", false, "only check links and marks, run nothing")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, *checkout, *lint, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

// run checks all links and marks, and runs the code of the named pages, or of all.
// It always runs the code of the README, which starts the workspace.
func run(ctx context.Context, checkout string, lintOnly bool, only []string) error {
	pages, err := readPages(checkout)
	if err != nil {
		return err
	}
	problems := append(checkLinks(checkout, pages), checkPaths(checkout, pages)...)
	undocumented, err := checkSymbols(checkout, pages)
	if err != nil {
		return err
	}
	unsaid, err := checkMessages(checkout, pages)
	if err != nil {
		return err
	}
	outside, err := checkArchive(checkout, pages)
	if err != nil {
		return err
	}
	problems = slices.Concat(problems, undocumented, unsaid, outside)
	for _, p := range pages {
		problems = append(problems, p.problems...)
	}
	if len(only) > 0 {
		pages = slices.DeleteFunc(pages, func(p *page) bool {
			return p.path != "README.md" && !slices.Contains(only, p.path)
		})
	}
	if !lintOnly {
		failures, err := runAll(ctx, checkout, pages)
		if err != nil {
			return err
		}
		problems = append(problems, failures...)
	}
	notRun, blocks := 0, 0
	for _, p := range pages {
		for _, b := range p.blocks {
			blocks++
			if b.notRun != "" {
				notRun++
				fmt.Printf("%s: not run: %s\n", b.place(), b.notRun)
			}
		}
	}
	fmt.Printf("%d pages, %d blocks of code, %d of them not run\n", len(pages), blocks, notRun)
	// They are last: a log may be read from its end.
	for _, problem := range problems {
		fmt.Println(problem)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%d problems", len(problems))
	}
	return nil
}

func runAll(ctx context.Context, checkout string, pages []*page) (problems []string, err error) {
	scratch, err := os.MkdirTemp("", "rules_qcow2_snippets")
	if err != nil {
		return nil, err
	}
	s := &sandbox{ctx: ctx, scratch: scratch}
	defer s.cleanUp()
	if err := s.prepare(checkout, pages); err != nil {
		return nil, err
	}
	problems = append(s.checkModules(pages), s.buildAndTest(pages)...)
	problems = append(problems, s.runCommands(pages)...)
	return append(problems, s.checkTargets(pages)...), nil
}

// readPages reads all Markdown files of the checkout, except the forms in .github.
func readPages(checkout string) ([]*page, error) {
	var pages []*page
	err := walkSources(checkout, func(path string, entry fs.DirEntry) error {
		if !strings.HasSuffix(path, ".md") || strings.HasPrefix(path, ".") {
			return nil
		}
		content, err := os.ReadFile(filepath.Join(checkout, path))
		if err != nil {
			return err
		}
		pages = append(pages, parsePage(path, content))
		return nil
	})
	return pages, err
}

// walkSources visits all regular files except those of Bazel and git.
func walkSources(top string, visit func(path string, entry fs.DirEntry) error) error {
	return filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && entry.Name() == ".git" {
			return filepath.SkipDir
		}
		if !entry.Type().IsRegular() || entry.Name() == ".git" {
			return nil // a folder, or a link such as bazel-bin
		}
		relative, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		return visit(relative, entry)
	})
}
