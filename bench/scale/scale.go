// Package scale measures Bazel with very many overlays, against Bazel's own
// floor and against what people do without this ruleset.
package scale

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/bench/measure"
	"github.com/rules-qcow2/rules_qcow2/bench/report"
)

// copies is how many copies of the base are made; the time is extrapolated.
const copies = 2

// Names of contestants, in tables.
const (
	touch      = "touch"
	twoTouches = "touch, and touch for validation"
	overlay    = "qcow2_overlay"
	unchecked  = "qcow2_overlay, --norun_validations"
	genrules   = "genrule, qemu-img create"
	empty      = "empty rule"
	oneAction  = "rule with one touch"
)

// Run builds overlays, and analyses analysed of them. It starts a Bazel server
// of its own, and needs the ruleset's checkout.
func Run(env *measure.Env, overlays, analysed int) ([]report.Table, error) {
	if env.Quick {
		overlays, analysed = 20, 20
	}
	ruleset := os.Getenv("BUILD_WORKSPACE_DIRECTORY")
	if ruleset == "" {
		return nil, fmt.Errorf("scale starts Bazel, which needs the checkout: allowed is `bazel run`")
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
	var tables []report.Table
	for _, run := range []func() (report.Table, error){w.runBuild, w.runNoOp, w.runAnalysis} {
		table, err := run()
		if err != nil {
			return nil, err
		}
		tables = append(tables, table)
	}
	return tables, nil
}

// contestant builds a package from nothing.
func (w *workspace) contestant(name, pkg string, flags ...string) measure.Contestant {
	return measure.Contestant{
		Name: name,
		Prepare: func() error {
			// What is not there is made again, whatever Bazel remembers.
			return os.RemoveAll(filepath.Join(w.bin, pkg))
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
		Note: "Bazel " + strings.TrimSpace(strings.TrimPrefix(string(version), "bazel ")) + ". Of ten overlays seven lie on a shared raw base of 1 GiB and three are a chain on top of one of them. " +
			"Everything is analysed, nothing is built or cached, each action has a sandbox. " +
			"`touch` is Bazel's floor: as many actions that make an empty file. By default Bazel runs a second action " +
			"for each overlay, its validation, which is why there is a floor of two actions as well. " +
			fmt.Sprintf("Of the copies only %d are made: their time is multiplied by %d. ", copies, w.overlays/copies) +
			"Processor time is that of Bazel's server and all that it starts.",
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
		Note:       "The build before, with nothing to do. Bazel looks whether every output is as it left it: an overlay has its metadata, its check report and its links besides.",
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
		Note: "`bazel build --nobuild`. Before it a flag has changed, so that nothing is analysed, and then ten overlays have been, and with " +
			"them the generator; packages are loaded. Memory is what the targets add to the heap in use after garbage collection. " +
			"The empty rule has a label for its base and does nothing with it; the rule with one touch declares one file and one action.",
		References: []string{empty, oneAction},
	}
	round := 0
	var contestants []measure.Contestant
	for _, c := range []struct{ name, pkg string }{
		{empty, "many_empty"},
		{oneAction, "many_touch"},
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
