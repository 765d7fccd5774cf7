// Package machine measures machines: booted ones against those that resume, and the
// agent's work in them.
package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/bench/measure"
	"github.com/rules-qcow2/rules_qcow2/bench/report"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
)

// limit bounds each run of a machine.
const limit = 5 * time.Minute

// A guest is the machine of a qemu_vm with an agent.
type guest struct {
	env      *measure.Env
	name     string
	config   *vm.Config
	hasShell bool // it is a full system, not only a kernel and the agent
	snapshot *vm.Snapshot
	exported *vm.Config // the machine of a qemu_snapshot
}

// Run measures the machines of qemu_vm targets, given by the paths of their
// executables in bazel-bin.
func Run(env *measure.Env, executables []string) ([]report.Table, error) {
	if len(executables) == 0 {
		return nil, errors.New("set -vm to the executables of qemu_vm targets, separated by commas, such as e2e/boot/bazel-bin/forks/vm")
	}
	start := report.Table{
		Name:  "machine",
		Title: "Starting a machine",
		Note: "The time until the guest has run a first command, which writes to its disk. `boot` waits for the guest as a snapshot does: " +
			"for the agent of a guest without a shell, else for `systemctl is-system-running --wait`. " +
			"`Fork` starts from a machine of the same process. `qemu_snapshot` starts from its files: it compares the fingerprint, too. " +
			"Disk is the space of RAM, state and layers on disk.",
		References: []string{"boot"},
	}
	commands := report.Table{
		Name:       "agent",
		Title:      "The agent",
		Note:       "In a guest with a shell. A command is `true`; its reference is a loop of the guest's shell around /bin/true. Copies are of 64 MiB, between the host and /dev/shm of the guest; their reference is `cp` within /dev/shm.",
		References: []string{"in the guest"},
	}
	for i, path := range executables {
		g, err := load(env, path, i)
		if err != nil {
			return nil, err
		}
		comparison, err := g.measureStart()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		start.Comparisons = append(start.Comparisons, comparison)
		if g.hasShell {
			comparisons, err := g.measureAgent()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			commands.Comparisons = append(commands.Comparisons, comparisons...)
		}
		g.close()
	}
	tables := []report.Table{start}
	if len(commands.Comparisons) > 0 {
		tables = append(tables, commands)
	}
	return tables, nil
}

// load reads the description of a machine, and saves the machine for the
// contestants that resume.
func load(env *measure.Env, path string, index int) (*guest, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path + ".vm.json")
	if err != nil {
		return nil, err
	}
	config := &vm.Config{}
	if err := json.Unmarshal(b, config); err != nil {
		return nil, fmt.Errorf("%s.vm.json: %w", path, err)
	}
	r, err := runfiles.New(runfiles.ProgramName(path))
	if err != nil {
		return nil, err
	}
	if err := config.Locate(r.Rlocation); err != nil {
		return nil, err
	}
	g := &guest{env: env, config: config, hasShell: len(config.Disks) > 0 && config.Initrd != ""}
	g.name = fmt.Sprintf("%s, %s", config.Target[strings.LastIndexAny(config.Target, "/:")+1:], config.Memory)
	config.Ready = &vm.Ready{}
	if g.hasShell {
		config.Ready.Command = "systemctl is-system-running --wait"
	}
	return g, g.save(index)
}

// save boots the machine and saves it, as qemu_snapshot does.
func (g *guest) save(index int) error {
	dir := g.env.Path(fmt.Sprintf("machine%d", index))
	if err := os.MkdirAll(filepath.Join(dir, "work"), 0o777); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	m, err := vm.Start(ctx, g.config, vm.Options{Dir: filepath.Join(dir, "work"), Agent: true, Saveable: true})
	if err != nil {
		return err
	}
	if err := m.WaitReady(ctx); err != nil {
		return errors.Join(m.Report(err), m.Close().Failure)
	}
	if g.snapshot, err = m.Freeze(ctx); err != nil {
		return err
	}
	files := &vm.Snapshot{
		RAM: filepath.Join(dir, "ram"), State: filepath.Join(dir, "state"), Layers: g.snapshot.Layers,
		UEFIVars: filepath.Join(dir, "vars"), Fingerprint: filepath.Join(dir, "fingerprint.json"),
	}
	if err := g.snapshot.Export(files); err != nil {
		return err
	}
	exported := *g.config
	exported.Snapshot = files
	g.exported = &exported
	return nil
}

func (g *guest) close() { g.snapshot.Close() }

// first is a command that writes to the disk.
func (g *guest) first(ctx context.Context, m *vm.Machine) error {
	if !g.hasShell {
		return m.WriteFile(ctx, "/dev/vda", []byte("first"), 0o600)
	}
	result, err := m.Exec(ctx, vm.Command{Args: []string{"/bin/sh", "-c", "echo first >/root/first && sync /root/first"}})
	if err == nil && !result.Success() {
		err = errors.New(result.String())
	}
	return err
}

// run starts a machine, and returns the time until f has ended. The end of the
// machine does not count.
func (g *guest) run(config *vm.Config, f func(ctx context.Context, m *vm.Machine) error) (sample measure.Sample, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	dir, err := os.MkdirTemp(g.env.Dir, "run")
	if err != nil {
		return sample, err
	}
	defer os.RemoveAll(dir)
	start := time.Now()
	m, err := vm.Start(ctx, config, vm.Options{Dir: dir, Agent: true})
	if err != nil {
		return sample, err
	}
	defer m.Close()
	if err := f(ctx, m); err != nil {
		return sample, m.Report(err)
	}
	sample.Seconds = time.Since(start).Seconds()
	return sample, nil
}

func (g *guest) measureStart() (measure.Comparison, error) {
	forked := *g.config
	forked.Snapshot = g.snapshot
	files := g.exported.Snapshot
	return measure.Compare(g.name, g.env.Rounds,
		measure.Contestant{Name: "boot", Run: func() (measure.Sample, error) {
			return g.run(g.config, func(ctx context.Context, m *vm.Machine) error {
				return errors.Join(m.WaitReady(ctx), g.first(ctx, m))
			})
		}},
		measure.Contestant{Name: "Fork", Run: func() (measure.Sample, error) { return g.run(&forked, g.first) }},
		measure.Contestant{Name: "qemu_snapshot", Run: func() (measure.Sample, error) {
			sample, err := g.run(g.exported, g.first)
			if err == nil {
				sample.Disk, err = measure.DiskUsage(append([]string{files.RAM, files.State}, files.Layers...)...)
			}
			return sample, err
		}},
	)
}

const (
	commandRuns = 100
	copySize    = 64 << 20 // in bytes
)

// measureAgent compares work by the agent with the same work by the guest's shell.
func (g *guest) measureAgent() ([]measure.Comparison, error) {
	source := g.env.Path("source")
	if err := writeFile(source, copySize); err != nil {
		return nil, err
	}
	// All contestants use one machine, which lives as long as the measurement.
	var comparisons []measure.Comparison
	forked := *g.config
	forked.Snapshot = g.snapshot
	_, err := g.run(&forked, func(ctx context.Context, m *vm.Machine) error {
		timed := func(divisor int, f func() error) func() (measure.Sample, error) {
			return func() (measure.Sample, error) {
				start := time.Now()
				err := f()
				return measure.Sample{Seconds: time.Since(start).Seconds() / float64(divisor)}, err
			}
		}
		shell := func(line string) func() error {
			return func() error {
				result, err := m.Exec(ctx, vm.Command{Args: []string{"/bin/sh", "-c", line}})
				if err == nil && !result.Success() {
					err = errors.New(result.String())
				}
				return err
			}
		}
		command, err := measure.Compare("a command", g.env.Rounds,
			measure.Contestant{Name: "in the guest", Run: timed(commandRuns, shell(fmt.Sprintf("for i in $(seq %d); do /bin/true; done", commandRuns)))},
			measure.Contestant{Name: "agent, vm.Machine.Exec", Run: timed(commandRuns, func() error {
				for range commandRuns {
					if _, err := m.Exec(ctx, vm.Command{Args: []string{"/bin/true"}}); err != nil {
						return err
					}
				}
				return nil
			})},
		)
		if err != nil {
			return err
		}
		copies, err := measure.Compare("64 MiB", g.env.Rounds,
			measure.Contestant{Name: "in the guest", Run: timed(1, shell("cp /dev/shm/in /dev/shm/copy")), Prepare: func() error {
				if err := m.CopyTo(ctx, "/dev/shm/in", source); err != nil {
					return err
				}
				return shell("rm -f /dev/shm/copy")()
			}},
			measure.Contestant{Name: "agent, vm.Machine.CopyTo", Run: timed(1, func() error { return m.CopyTo(ctx, "/dev/shm/in", source) })},
			measure.Contestant{Name: "agent, vm.Machine.CopyFrom", Run: timed(1, func() error { return m.CopyFrom(ctx, "/dev/shm/in", source+".back") })},
		)
		comparisons = []measure.Comparison{command, copies}
		return err
	})
	return comparisons, err
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
