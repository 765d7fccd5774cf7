package machine

import (
	"fmt"
	"time"

	"github.com/rules-qcow2/rules_qcow2/bench/measure"
	"github.com/rules-qcow2/rules_qcow2/bench/report"
)

const (
	suiteTests = 100
	suiteBoots = 4 // tests that boot, whose time is multiplied
	// suiteRounds limits the rounds: each takes minutes.
	suiteRounds = 2
)

// RunSuite measures `bazel test` of many tests with one command each.
func RunSuite(env *measure.Env, checkout string) ([]report.Table, error) {
	table := report.Table{
		Name:  "suite",
		Title: fmt.Sprintf("%d tests with one command each", suiteTests),
		Note: fmt.Sprintf("`bazel test` of a `qemu_boot_test` that runs one command in the guest, %d times (`--runs_per_test`), two at once on two processors. "+
			"`boot` is %d tests, whose time is multiplied by %d. `qemu_snapshot` has been built before; the last row is that time and the time of its build. No round is left out.",
			suiteTests, suiteBoots, suiteTests/suiteBoots),
		References: []string{"boot"},
	}
	for _, g := range guests(env, checkout) {
		if g.dirty > 0 {
			continue // not a target
		}
		env.Log("  %s", g.name)
		comparison, err := g.measureSuite()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", g.name, err)
		}
		table.Comparisons = append(table.Comparisons, comparison)
	}
	return []report.Table{table}, nil
}

func (g *guest) measureSuite() (measure.Comparison, error) {
	const booted, boots, resumes = "bench/booted", "bench/boots_test", "bench/resumes_test"
	if err := g.workspace.build(booted, boots, resumes); err != nil {
		return measure.Comparison{}, err
	}
	test := func(target string, runs int) (measure.Sample, error) {
		start := time.Now()
		_, err := g.workspace.bazel("test", append(uncached, fmt.Sprintf("--runs_per_test=%d", runs), "--nocache_test_results", label(target))...)
		sample := measure.Sample{Seconds: time.Since(start).Seconds() * suiteTests / float64(runs)}
		g.env.Log("    %s: %.0f s", target, sample.Seconds)
		return sample, err
	}
	var tested measure.Sample
	return measure.CompareCold(g.name, min(g.env.Rounds, suiteRounds),
		measure.Contestant{Name: "boot", Run: func() (measure.Sample, error) { return test(boots, suiteBoots) }},
		measure.Contestant{Name: "qemu_snapshot", Run: func() (_ measure.Sample, err error) {
			tested, err = test(resumes, int(g.env.Size(suiteTests, suiteBoots)))
			return tested, err
		}},
		measure.Contestant{Name: "qemu_snapshot, with its build", Run: func() (measure.Sample, error) {
			built, err := g.workspace.rebuild(booted, g.workspace.path(booted)+".ram.qcow2")
			return measure.Sample{Seconds: tested.Seconds + built.Seconds}, err
		}},
	)
}
