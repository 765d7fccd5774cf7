// Command bench runs the project's benchmarks and writes docs/performance.md:
// tables, plots and all samples.
//
//	bazel run -c opt //bench
//
// Parts can be run by themselves, and leave the results of the others alone:
//
//	bazel run -c opt //bench -- -only 'create|library'
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/rules-qcow2/rules_qcow2/bench/create"
	"github.com/rules-qcow2/rules_qcow2/bench/guest"
	"github.com/rules-qcow2/rules_qcow2/bench/library"
	"github.com/rules-qcow2/rules_qcow2/bench/measure"
	"github.com/rules-qcow2/rules_qcow2/bench/report"
	"github.com/rules-qcow2/rules_qcow2/bench/scale"
)

var (
	only     = flag.String("only", ".", "run the parts whose names match this regular `expression`: create, library, guest, scale, many")
	rounds   = flag.Int("rounds", 5, "how often each contestant runs, in turn with the others")
	quick    = flag.Bool("quick", false, "smallest sizes and one round: to see that it works, not what it takes")
	out      = flag.String("out", "", "write performance.md and performance/ to this `folder` (default: docs of the workspace; with -quick, the scratch folder)")
	scratch  = flag.String("scratch", "", "make disks in a new folder below this `folder`, and remove them at the end (default: that for temporary files)")
	overlays = flag.Int("overlays", 1000, "how many overlays scale builds")
	analysed = flag.Int("analysed", 10000, "how many targets scale analyses, and many builds")
)

// A part is one benchmark.
type part struct {
	name string
	run  func(*measure.Env) ([]report.Table, error)
}

var parts = []part{
	{"create", create.Run},
	{"library", library.Run},
	{"guest", guest.Run},
	{"scale", func(env *measure.Env) ([]report.Table, error) { return scale.Run(env, *overlays, *analysed) }},
	{"many", func(env *measure.Env) ([]report.Table, error) { return scale.RunMany(env, *analysed) }},
}

func main() {
	log.SetFlags(0)
	if len(os.Args) == 3 && os.Args[1] == library.ReadCommand {
		if err := library.Read(os.Args[2]); err != nil {
			log.Fatal(err)
		}
		return
	}
	flag.Parse()
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-only is %q: %w", *only, err)
	}
	if *rounds < 1 {
		return fmt.Errorf("-rounds is %d, allowed is 1 and more", *rounds)
	}
	if *quick {
		*rounds = 1
	}
	page, err := pagePath()
	if err != nil {
		return err
	}
	var chosen []part
	for _, p := range parts {
		if pattern.MatchString(p.name) {
			chosen = append(chosen, p)
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("-only is %q, allowed is what matches create, library, guest, scale or many", *only)
	}
	// One that fails leaves the others their results.
	var failed []error
	for _, p := range chosen {
		if err := runPart(p, page); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	return errors.Join(failed...)
}

func pagePath() (string, error) {
	dir := *out
	if dir == "" && !*quick {
		workspace := os.Getenv("BUILD_WORKSPACE_DIRECTORY")
		if workspace == "" {
			return "", errors.New("-out is missing, which only `bazel run` can do without")
		}
		dir = filepath.Join(workspace, "docs")
	}
	if dir == "" {
		return "", nil
	}
	if working := os.Getenv("BUILD_WORKING_DIRECTORY"); !filepath.IsAbs(dir) {
		dir = filepath.Join(working, dir)
	}
	return filepath.Join(dir, "performance.md"), nil
}

// runPart runs one benchmark in a scratch folder of its own, prints its tables
// and writes its results, unless page is empty.
func runPart(p part, page string) error {
	env := &measure.Env{Rounds: *rounds, Quick: *quick, Log: log.Printf}
	if err := env.Find(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(*scratch, "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	defer removeWhenStopped(dir)()
	env.Dir = dir
	result := report.Part{
		Name:    p.name,
		Date:    time.Now().UTC().Format(time.DateOnly),
		Machine: measure.Describe(env),
	}
	start := time.Now()
	log.Printf("%s ...", p.name)
	if result.Tables, err = p.run(env); err != nil {
		return err
	}
	log.Printf("%s took %.0f s", p.name, time.Since(start).Seconds())
	fmt.Print(strings.TrimSpace(result.Markdown("performance")), "\n\n")
	if page == "" {
		return nil
	}
	return result.Write(page)
}

// removeWhenStopped removes dir, which holds gigabytes, when a signal ends the
// program. The function that it returns ends that.
func removeWhenStopped(dir string) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		if s, ok := <-signals; ok {
			os.RemoveAll(dir)
			log.Fatalf("stopped: %v", s)
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
	}
}
