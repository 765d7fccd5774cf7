// Command bench runs the project's benchmarks and writes docs/performance.md:
// tables, plots and all samples.
//
//	bazel run -c opt //bench
//
// With -only it runs some parts and keeps the results of the others. With -render it
// measures nothing, and writes tables and plots from the samples of the last run:
//
//	bazel run -c opt //bench -- -only 'create|library'
//	bazel run -c opt //bench -- -render
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/rules-qcow2/rules_qcow2/bench/convert"
	"github.com/rules-qcow2/rules_qcow2/bench/create"
	"github.com/rules-qcow2/rules_qcow2/bench/guest"
	"github.com/rules-qcow2/rules_qcow2/bench/library"
	"github.com/rules-qcow2/rules_qcow2/bench/machine"
	"github.com/rules-qcow2/rules_qcow2/bench/measure"
	"github.com/rules-qcow2/rules_qcow2/bench/report"
	"github.com/rules-qcow2/rules_qcow2/bench/scale"
)

var (
	only     = flag.String("only", ".", "run the parts whose names match this regular `expression`: create, library, convert, guest, scale, machine, snapshot, suite, layer, inside, many")
	render   = flag.Bool("render", false, "measure nothing; write the page and the plots from the JSON files of the last run")
	rounds   = flag.Int("rounds", 5, "number of times that each contestant runs, in turn with the others")
	quick    = flag.Bool("quick", false, "smallest sizes and one round: shows that the benchmark works, not how long it takes")
	out      = flag.String("out", "", "write performance.md and performance/ to this `folder` (default: docs of the workspace; with -quick, the scratch folder)")
	scratch  = flag.String("scratch", "", "make disks in a new folder below this `folder`, and remove them at the end (default: the folder for temporary files)")
	overlays = flag.Int("overlays", 1000, "number of overlays that scale builds")
	analysed = flag.Int("analysed", 10000, "number of targets that scale analyses, and that many builds")
)

// A part is one benchmark.
type part struct {
	name string
	// sandboxed parts run in a test. The others need the checkout with Bazel, or guests.
	sandboxed bool
	run       func(*measure.Env) ([]report.Table, error)
}

var parts = []part{
	{"create", true, create.Run},
	{"library", true, library.Run},
	{"convert", true, inCheckout(convert.Run)},
	{"guest", true, guest.Run},
	{"scale", false, func(env *measure.Env) ([]report.Table, error) { return scale.Run(env, *overlays, *analysed) }},
	{"machine", false, inCheckout(machine.Run)},
	{"snapshot", false, inCheckout(machine.RunSnapshot)},
	{"suite", false, inCheckout(machine.RunSuite)},
	{"layer", false, inCheckout(machine.RunLayer)},
	{"inside", false, inCheckout(machine.RunInside)},
	{"many", false, func(env *measure.Env) ([]report.Table, error) { return scale.RunMany(env, *analysed) }},
}

// inCheckout returns a part that builds targets of a checkout.
func inCheckout(run func(*measure.Env, string) ([]report.Table, error)) func(*measure.Env) ([]report.Table, error) {
	return func(env *measure.Env) ([]report.Table, error) {
		return run(env, os.Getenv("BUILD_WORKSPACE_DIRECTORY"))
	}
}

func main() {
	log.SetFlags(0)
	if len(os.Args) == 3 && os.Args[1] == library.ReadCommand {
		if err := library.Read(os.Args[2]); err != nil {
			log.Fatal(err)
		}
		return
	}
	if len(os.Args) > 2 && os.Args[1] == convert.Command {
		os.Exit(convert.Main(os.Args[1:]))
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
		return fmt.Errorf("-rounds = %d must be at least 1", *rounds)
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
		return fmt.Errorf("-only = %q does not match a part; the parts are create, library, convert, guest, scale, machine, snapshot, suite, layer, inside and many", *only)
	}
	if *render {
		return renderParts(chosen, page)
	}
	// A part that fails does not affect the results of others.
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
			return "", errors.New("set -out, or use `bazel run`, which knows the workspace")
		}
		dir = filepath.Join(workspace, "docs")
	}
	if dir == "" {
		return "", nil
	}
	return filepath.Join(fromUser(dir), "performance.md"), nil
}

// fromUser returns a path that the user gave, which is relative to the folder that
// `bazel run` was called in.
func fromUser(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(os.Getenv("BUILD_WORKING_DIRECTORY"), path)
}

// renderParts writes parts of the page from their JSON files. The section of a part
// without such a file, which was not measured yet, stays as it is.
func renderParts(chosen []part, page string) error {
	if page == "" {
		return errors.New("-render has no page to write with -quick; set -out, or omit -quick")
	}
	dir := strings.TrimSuffix(page, ".md")
	rendered := false
	for _, p := range chosen {
		part, err := report.Read(filepath.Join(dir, p.name+".json"))
		if errors.Is(err, fs.ErrNotExist) {
			log.Printf("%s has no samples, so its section stays as it is; to measure it, use -only %[1]s", p.name)
			continue
		}
		if err == nil {
			err = part.Write(page)
		}
		if err != nil {
			return err
		}
		rendered = true
	}
	if !rendered {
		return fmt.Errorf("-render: %s does not have samples of the chosen parts; run the benchmarks first", dir)
	}
	return nil
}

// runPart runs one benchmark in its own scratch folder, prints its tables and
// writes its results, unless page is empty.
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

// removeWhenStopped removes dir, which has gigabytes, when a signal ends the
// program, until the returned function is called.
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
