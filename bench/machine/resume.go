package machine

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/rules-qcow2/rules_qcow2/bench/measure"
	"github.com/rules-qcow2/rules_qcow2/bench/report"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/internal/sparse"
)

// RunSnapshot measures what a resume consists of, how long a freeze pauses the guest,
// and what its RAM costs.
func RunSnapshot(env *measure.Env, checkout string) ([]report.Table, error) {
	resume := report.Table{
		Name:  "resume",
		Title: "Steps of a resume",
		Note: "The steps of one machine of a `qemu_snapshot`, one after another, until its first command has ended, which writes to the disk. " +
			"`agent`: the guest runs, and its agent answers a random number. `welcome`: the guest gets random numbers and the time. " +
			"The same command once more shows how much of the first one is work that only a guest that just resumed has: page faults and, under TCG, the translation of its code.",
		References: []string{resumed},
	}
	freeze := report.Table{
		Name:       "freeze",
		Title:      "Freezing a machine",
		Note:       "`rest`: until the guest is at rest, at least 0.3 s, and its programs have stopped. `pause`: from there to the end of the save; the RAM stays where it is. `Freeze` returns when QEMU has ended.",
		References: []string{frozen},
	}
	ram := report.Table{
		Name:  "ram",
		Title: "Forms of a snapshot's RAM",
		Note: "The time until the first command has ended, with RAM that is mapped privately as `qemu_snapshot` does, copied for each machine as for QEMU before 8.2, or decompressed for each machine to a file in the scratch folder. " +
			"Disk is the length of the file.",
		References: []string{mapped},
	}
	digest := report.Table{
		Name:       "digest",
		Title:      "The digest of a snapshot's RAM",
		Note:       "`bazel build` of a snapshot with nothing to do, and after the time of the RAM's last change has changed: Bazel computes its digest again, as it does once after each build of the snapshot.",
		References: []string{"nothing to do"},
	}
	err := forEach(guests(env, checkout), func(g *guest) error {
		outputs, err := g.outputs()
		if err != nil {
			return err
		}
		ram.Note += " " + outputs
		for _, m := range []struct {
			table   *report.Table
			measure func() (measure.Comparison, error)
		}{
			{&resume, g.measureSteps},
			{&freeze, g.measureFreeze},
			{&ram, g.measureRAM},
			{&digest, g.measureDigest},
		} {
			if m.table == &digest && g.dirty > 0 {
				continue // not a target
			}
			comparison, err := m.measure()
			if err != nil {
				return err
			}
			m.table.Comparisons = append(m.table.Comparisons, comparison)
		}
		return nil
	})
	return []report.Table{resume, freeze, ram, digest}, err
}

// outputs says how large the snapshot is.
func (g *guest) outputs() (string, error) {
	files := g.exported.Snapshot
	layers, err := measure.DiskUsage(files.Layers...)
	if err != nil {
		return "", err
	}
	ram, err := measure.DiskUsage(files.RAM)
	if err != nil {
		return "", err
	}
	state, err := os.Stat(files.State)
	if err != nil {
		return "", err
	}
	var length int64
	for _, layer := range files.Layers {
		info, err := os.Stat(layer)
		if err != nil {
			return "", err
		}
		length += info.Size()
	}
	return fmt.Sprintf("%s: on disk, the RAM takes %.0f MiB, the state %.1f MiB and the layer %.1f MiB, which is %.1f MiB in a cache.",
		g.name, mib(ram), mib(state.Size()), mib(layers), mib(length)), nil
}

// Names of contestants, which are references.
const (
	resumed = "all, until the first command has ended"
	frozen  = "Freeze"
	mapped  = "mapped"
)

// measureSteps measures the steps of a resume. The first contestant resumes a machine
// in each round, and the others are its steps.
func (g *guest) measureSteps() (measure.Comparison, error) {
	var steps map[string]float64 // seconds, of the last machine
	contestants := []measure.Contestant{{Name: resumed, Run: func() (sample measure.Sample, err error) {
		steps, err = g.steps()
		for _, name := range stepNames[:len(stepNames)-1] {
			sample.Seconds += steps[name]
		}
		return sample, err
	}}}
	for _, name := range stepNames {
		contestants = append(contestants, measure.Contestant{Name: name, Run: func() (measure.Sample, error) {
			return measure.Sample{Seconds: steps[name]}, nil
		}})
	}
	return measure.Compare(g.name, g.env.Rounds, contestants...)
}

// stepNames are the steps of a resume and the commands after it. The last one does not
// belong to the whole.
var stepNames = []string{
	vm.StepFiles, vm.StepQEMU, vm.StepFingerprint, vm.StepState, vm.StepAgent, vm.StepWelcome,
	"first command", "the same command again",
}

// steps resumes a machine and returns the seconds that each step took.
func (g *guest) steps() (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	dir, err := os.MkdirTemp(g.env.Dir, "run")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	type end struct {
		step string
		at   time.Time
	}
	ends := make(chan end, len(stepNames))
	last := time.Now()
	m, err := vm.Start(ctx, g.exported, vm.Options{Dir: dir, Agent: true, Trace: func(step string) { ends <- end{step, time.Now()} }})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	steps := map[string]float64{}
	for _, step := range stepNames[:len(stepNames)-2] {
		e := <-ends
		if e.step != step {
			return nil, fmt.Errorf("got the step %q, want %q", e.step, step)
		}
		steps[step] = e.at.Sub(last).Seconds()
		last = e.at
	}
	for _, step := range stepNames[len(stepNames)-2:] {
		if err := g.first(ctx, m); err != nil {
			return nil, m.Report(err)
		}
		now := time.Now()
		steps[step] = now.Sub(last).Seconds()
		last = now
	}
	return steps, nil
}

// measureFreeze freezes machines. The other contestants are parts of the first.
func (g *guest) measureFreeze() (measure.Comparison, error) {
	var rest, paused measure.Sample
	return measure.Compare(g.name, g.env.Rounds,
		measure.Contestant{Name: frozen, Run: func() (sample measure.Sample, err error) {
			var start time.Time
			o := vm.Options{Agent: true, Saveable: true, Trace: func(step string) {
				switch step {
				case vm.StepRest:
					rest.Seconds = time.Since(start).Seconds()
				case vm.StepSaved:
					paused.Seconds = time.Since(start).Seconds() - rest.Seconds
				}
			}}
			_, err = runWith(g.env, g.exported, o, func(ctx context.Context, m *vm.Machine) error {
				if err := g.first(ctx, m); err != nil {
					return err
				}
				start = time.Now()
				snapshot, err := m.Freeze(ctx)
				if err != nil {
					return err
				}
				sample.Seconds = time.Since(start).Seconds()
				return snapshot.Close()
			})
			return sample, err
		}},
		measure.Contestant{Name: "rest", Run: func() (measure.Sample, error) { return rest, nil }},
		measure.Contestant{Name: "pause", Run: func() (measure.Sample, error) { return paused, nil }},
	)
}

// measureRAM compares forms in which a snapshot could have its RAM.
func (g *guest) measureRAM() (measure.Comparison, error) {
	ram := g.exported.Snapshot.RAM
	info, err := os.Stat(ram)
	if err != nil {
		return measure.Comparison{}, err
	}
	compressed := filepath.Join(g.dir, "ram.zst")
	size, err := compress(compressed, ram)
	if err != nil {
		return measure.Comparison{}, err
	}
	with := func(o vm.Options, size int64) func() (measure.Sample, error) {
		return func() (measure.Sample, error) {
			sample, err := runWith(g.env, g.exported, o, g.first)
			sample.Disk = size
			return sample, err
		}
	}
	return measure.Compare(g.name, g.env.Rounds,
		measure.Contestant{Name: mapped, Run: with(vm.Options{Agent: true}, info.Size())},
		measure.Contestant{Name: "copied", Run: with(vm.Options{Agent: true, Saveable: true}, info.Size())},
		measure.Contestant{Name: "zstd, fastest level", Run: func() (sample measure.Sample, err error) {
			start := time.Now()
			snapshot, config := *g.exported.Snapshot, *g.exported
			snapshot.RAM, config.Snapshot = filepath.Join(g.dir, "decompressed"), &snapshot
			defer os.Remove(snapshot.RAM)
			if err := decompress(snapshot.RAM, compressed); err != nil {
				return sample, err
			}
			before := time.Since(start)
			sample, err = run(g.env, &config, g.first)
			sample.Seconds += before.Seconds()
			sample.Disk = size
			return sample, err
		}},
	)
}

// measureDigest measures how long Bazel takes to compute the digest of the RAM.
func (g *guest) measureDigest() (measure.Comparison, error) {
	const target = "bench/booted"
	if err := g.workspace.build(target); err != nil {
		return measure.Comparison{}, err
	}
	build := func() (measure.Sample, error) {
		start := time.Now()
		err := g.workspace.build(target)
		return measure.Sample{Seconds: time.Since(start).Seconds()}, err
	}
	return measure.Compare(g.name, g.env.Rounds,
		measure.Contestant{Name: "nothing to do", Run: build},
		measure.Contestant{Name: "digest of the RAM", Run: build, Prepare: func() error {
			now := time.Now()
			return os.Chtimes(g.workspace.path(target)+".ram", now, now)
		}},
	)
}

// compress writes a file with zstd, and returns the size of the result.
func compress(to, from string) (int64, error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	w, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return 0, err
	}
	if _, err := io.Copy(w, in); err != nil {
		return 0, err
	}
	if err := w.Close(); err != nil {
		return 0, err
	}
	return out.Seek(0, io.SeekCurrent)
}

// decompress writes the content of a file that compress made. Blocks of zeros become
// holes.
func decompress(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	r, err := zstd.NewReader(in)
	if err != nil {
		return err
	}
	defer r.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = sparse.CopyFrom(out, r)
	return err
}
