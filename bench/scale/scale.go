// Package scale measures Bazel with thousands of overlays. It compares them with
// the least work that Bazel can do, and with other ways to make disks.
package scale

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/bench/measure"
	"github.com/rules-qcow2/rules_qcow2/bench/report"
)

// copies is the number of copies of the base; the time is extrapolated.
const copies = 2

// Names of contestants, in tables.
const (
	touch      = "touch"
	twoTouches = "touch, and touch for validation"
	overlay    = "qcow2_overlay"
	unchecked  = "qcow2_overlay, --norun_validations"
	genrules   = "genrule, qemu-img create"
	sandboxed  = "qcow2_overlay, in sandboxes"
	empty      = "empty rule"
	oneAction  = "rule with one touch"
	shape      = "rule with an overlay's files and actions"
)

// Run builds overlays, and analyses analysed of them. It starts its own Bazel
// server, and needs the ruleset's checkout.
func Run(env *measure.Env, overlays, analysed int) ([]report.Table, error) {
	return run(env, overlays, analysed, (*workspace).runBuild, (*workspace).runNoOp, (*workspace).runAnalysis)
}

// RunMany builds as many overlays as Run analyses.
func RunMany(env *measure.Env, overlays int) ([]report.Table, error) {
	return run(env, 10, overlays, (*workspace).runBuildMany)
}

func run(env *measure.Env, overlays, analysed int, tables ...func(*workspace) (report.Table, error)) ([]report.Table, error) {
	if env.Quick {
		overlays, analysed = 20, 20
	}
	ruleset := os.Getenv("BUILD_WORKSPACE_DIRECTORY")
	if ruleset == "" {
		return nil, fmt.Errorf("scale starts Bazel in the checkout; use `bazel run`")
	}
	w, err := newWorkspace(env, ruleset, overlays, analysed)
	if err != nil {
		return nil, err
	}
	defer w.close()
	if err := w.generate(); err != nil {
		return nil, err
	}
	if err := w.makeTools(); err != nil {
		return nil, err
	}
	var results []report.Table
	for _, table := range tables {
		result, err := table(w)
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return results, nil
}

// contestant builds a package from nothing.
func (w *workspace) contestant(name, pkg string, flags ...string) measure.Contestant {
	return measure.Contestant{
		Name: name,
		Prepare: func() error {
			// Bazel makes missing outputs again. They are moved, not removed:
			// ext4 skips recently freed inodes one by one, which would slow
			// down the other contestants (recently_deleted in
			// fs/ext4/ialloc.c).
			w.moved++
			err := os.Rename(filepath.Join(w.bin, pkg), w.Path(fmt.Sprintf("moved%d", w.moved)))
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		},
		Run: func() (measure.Sample, error) {
			return w.measured(slices.Concat([]string{"build"}, uncached, flags, []string{"//" + pkg + ":all"})...)
		},
	}
}

func (w *workspace) runBuild() (report.Table, error) {
	version, err := exec.Command(filepath.Join(w.ruleset, "bazelw"), "--version").Output() // "bazel 7.7.1\n"
	if err != nil {
		return report.Table{}, err
	}
	table := report.Table{
		Name:  "build",
		Title: fmt.Sprintf("Building %d overlays", w.overlays),
		Note: "Bazel " + strings.TrimSpace(strings.TrimPrefix(string(version), "bazel ")) + ". Of ten overlays, seven are on a shared raw base of 1 GiB, and three are a chain on top of one of them. " +
			"All targets are analysed before; nothing is built or cached. " +
			"`touch` is the least that Bazel can do for an action: each creates an empty file in its own sandbox. By default Bazel runs a second action " +
			"for each overlay, its validation; so one contestant has two `touch` actions. " +
			"The generator runs as a worker, or in sandboxes with `--spawn_strategy=sandboxed`. " +
			fmt.Sprintf("Only %d copies are made; their time is multiplied by %d. ", copies, w.overlays/copies) +
			"Processor time is that of Bazel's server and its children.",
		References: []string{touch, genrules},
	}
	copying := w.contestant(fmt.Sprintf("cp of 1 GiB, extrapolated from %d", copies), "copy")
	run := copying.Run
	copying.Run = func() (measure.Sample, error) {
		sample, err := run()
		factor := float64(w.overlays) / copies
		sample.Seconds *= factor
		sample.CPU *= factor
		return sample, err
	}
	comparison, err := measure.Compare("", w.Rounds,
		w.contestant(touch, "touch"),
		w.contestant(unchecked, "overlay", "--norun_validations"),
		w.contestant(twoTouches, "touch_twice"),
		w.contestant(overlay, "overlay"),
		w.contestant(sandboxed, "overlay", "--spawn_strategy=sandboxed"),
		w.contestant(genrules, "genrule"),
		copying,
	)
	table.Comparisons = []measure.Comparison{comparison}
	return table, err
}

func (w *workspace) runNoOp() (report.Table, error) {
	table := report.Table{
		Name:       "no_op",
		Title:      fmt.Sprintf("Building %d overlays again", w.overlays),
		Note:       "The same build with nothing to do. Bazel checks whether each output is unchanged; besides the image, an overlay has metadata, a check report and links.",
		References: []string{touch, genrules},
	}
	var contestants []measure.Contestant
	for _, c := range []struct{ name, pkg string }{{touch, "touch"}, {overlay, "overlay"}, {genrules, "genrule"}} {
		contestant := w.contestant(c.name, c.pkg)
		contestant.Prepare = nil
		contestants = append(contestants, contestant)
	}
	comparison, err := measure.Compare("", w.Rounds, contestants...)
	table.Comparisons = []measure.Comparison{comparison}
	return table, err
}

func (w *workspace) runAnalysis() (report.Table, error) {
	table := report.Table{
		Name:  "analysis",
		Title: fmt.Sprintf("Analysing %d targets", w.analysed),
		Note: "`bazel build --nobuild`. Before it, a changed flag discards all analysed targets, and then ten overlays are analysed, with " +
			"the generator. Packages are loaded. Memory is the growth of the heap in use after garbage collection. " +
			"The empty rule has a label for its base and declares nothing; the rule with one touch declares one file and one action. " +
			"The last row but one declares as much as an overlay does (two actions that run `touch`, three files, and a link to each image below) and reads none of its attributes.",
		References: []string{empty, oneAction},
	}
	round := 0
	var contestants []measure.Contestant
	for _, c := range []struct{ name, pkg string }{
		{empty, "many_empty"},
		{oneAction, "many_touch"},
		{shape, "many_shape"},
		{overlay, "many_overlay"},
	} {
		var flag string
		var before int64
		contestants = append(contestants, measure.Contestant{
			Name: c.name,
			Prepare: func() (err error) {
				round++
				flag = fmt.Sprintf("--define=round=%d", round)
				if _, err = w.bazel("build", "--nobuild", flag, "//one:all"); err == nil {
					before, err = w.heap()
				}
				return err
			},
			Run: func() (measure.Sample, error) {
				sample, err := w.measured("build", "--nobuild", flag, "//"+c.pkg+":all")
				if err != nil {
					return sample, err
				}
				after, err := w.heap()
				sample.Memory = max(after-before, 0)
				return sample, err
			},
		})
	}
	comparison, err := measure.Compare("", w.Rounds, contestants...)
	table.Comparisons = []measure.Comparison{comparison}
	return table, err
}

// runBuildMany has only two contestants: a round takes minutes.
func (w *workspace) runBuildMany() (report.Table, error) {
	table := report.Table{
		Name:       "build_many",
		Title:      fmt.Sprintf("Building %d overlays", w.analysed),
		Note:       "The same workspace with more targets, with validations.",
		References: []string{touch},
	}
	comparison, err := measure.Compare("", w.Rounds,
		w.contestant(touch, "many_touch"),
		w.contestant(overlay, "many_overlay"),
	)
	table.Comparisons = []measure.Comparison{comparison}
	return table, err
}
