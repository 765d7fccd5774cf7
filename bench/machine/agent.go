package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/bench/measure"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
)

const (
	// Names of the references.
	kernelStart = "kernel and initrd"
	inGuest     = "in the guest"

	commandRuns = 100
	copySize    = 32 << 20 // in bytes

	// probePath is where the program of bench/machine/probe is in the guest.
	probePath = "/dev/shm/probe"
)

// measureAnswer compares the agent's first answer with the boot before it.
func (g *guest) measureAnswer() (measure.Comparison, error) {
	config := *g.config
	config.Ready = nil
	// The messages are the end of the reference, and take time.
	config.KernelArgs = slices.DeleteFunc(slices.Clone(config.KernelArgs), func(arg string) bool { return arg == "quiet" })
	options := vm.Options{Agent: true}
	end := `Run /\S+ as init process`
	if config.Initrd != "" {
		options.Agent = false
		end = `Running /scripts/init-bottom \.\.\. done` // of initramfs-tools
	}
	return measure.Compare(g.name, g.env.Rounds,
		measure.Contestant{Name: kernelStart, Run: func() (measure.Sample, error) {
			return runWith(g.env, &config, options, func(ctx context.Context, m *vm.Machine) error { return m.Expect(ctx, end) })
		}},
		measure.Contestant{Name: "agent", Run: func() (measure.Sample, error) {
			return run(g.env, &config, func(ctx context.Context, m *vm.Machine) error {
				_, err := m.Agent(ctx)
				return err
			})
		}},
	)
}

// measureAgent compares work by the agent with the same work in the guest. All
// contestants use one machine, which lives as long as the measurement.
func (g *guest) measureAgent() ([]measure.Comparison, error) {
	source := g.env.Path("source")
	if err := writeFile(source, copySize); err != nil {
		return nil, err
	}
	probe, err := runfiles.Rlocation(os.Getenv("PROBE"))
	if err != nil {
		return nil, fmt.Errorf("the program for guests is not in the runfiles, use `bazel run //bench`: %w", err)
	}
	var comparisons []measure.Comparison
	_, err = runFork(g.env, g.snapshot, func(ctx context.Context, m *vm.Machine) error {
		if err := m.CopyTo(ctx, probe, probePath); err != nil {
			return err
		}
		work := agentWork{machine: m, env: g.env, source: source}
		command := []string{probePath, "true"}
		if g.ready != "" {
			command = []string{"/bin/true"}
		}
		commands, err := work.commands(ctx, g.name+", a command", command)
		if err != nil {
			return err
		}
		copies, err := work.copies(ctx, fmt.Sprintf("%s, %d MiB", g.name, copySize>>20))
		comparisons = []measure.Comparison{commands, copies}
		return err
	})
	return comparisons, err
}

// agentWork is work in a machine that runs.
type agentWork struct {
	machine *vm.Machine
	env     *measure.Env
	source  string // path of a file
}

// commands compares the start of a command by the agent with one in the guest.
func (w *agentWork) commands(ctx context.Context, name string, command []string) (measure.Comparison, error) {
	return measure.Compare(name, w.env.Rounds,
		timed(inGuest, commandRuns, func() error {
			return w.run(ctx, append([]string{probePath, "run", fmt.Sprint(commandRuns)}, command...)...)
		}),
		timed("agent, vm.Machine.Exec", commandRuns, func() error {
			for range commandRuns {
				if err := w.run(ctx, command...); err != nil {
					return err
				}
			}
			return nil
		}),
	)
}

// copies compares copies by the agent with one in the guest.
func (w *agentWork) copies(ctx context.Context, name string) (measure.Comparison, error) {
	const in, out = "/dev/shm/in", "/dev/shm/out"
	back := w.source + ".back"
	if err := w.machine.CopyTo(ctx, w.source, in); err != nil {
		return measure.Comparison{}, err
	}
	return measure.Compare(name, w.env.Rounds,
		timed(inGuest, 1, func() error { return w.run(ctx, probePath, "copy", in, out) }),
		timed("agent, vm.Machine.CopyTo", 1, func() error { return w.machine.CopyTo(ctx, w.source, in) }),
		timed("agent, vm.Machine.CopyFrom", 1, func() error { return w.machine.CopyFrom(ctx, in, back) }),
	)
}

// run runs a command in the guest. It must succeed.
func (w *agentWork) run(ctx context.Context, args ...string) error {
	var stderr vm.Tail
	result, err := w.machine.Exec(ctx, vm.Command{Args: args, Stderr: &stderr})
	if err == nil && !result.Success() {
		err = fmt.Errorf("%q: %v%s", args, result, vm.Outputs(&vm.Tail{}, &stderr))
	}
	return err
}

// timed is a contestant whose time is divided by the number of its repetitions.
func timed(name string, repetitions int, f func() error) measure.Contestant {
	return measure.Contestant{Name: name, Run: func() (measure.Sample, error) {
		start := time.Now()
		err := f()
		return measure.Sample{Seconds: time.Since(start).Seconds() / float64(repetitions)}, err
	}}
}

// writeFile writes a file without holes.
func writeFile(path string, size int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, repeated{}, int64(size))
	return errors.Join(err, f.Close())
}

// repeated reads as one byte, again and again.
type repeated struct{}

func (repeated) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}
