// Package machine measures machines: booted ones against those that resume, and the
// agent's work in them.
package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/bench/measure"
	"github.com/rules-qcow2/rules_qcow2/bench/report"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
)

// limit bounds each run of a machine.
const limit = 5 * time.Minute

// A guest is a machine of the package bench of a workspace, which has the targets vm,
// booted, boots_test and resumes_test.
type guest struct {
	env       *measure.Env
	workspace workspace
	name      string
	ready     string // that its boot is over; "" for a guest without a shell
	memory    string
	dirty     int // bytes of memory that it fills before it is saved

	dir      string // scratch folder
	config   *machine.Config
	snapshot *vm.Snapshot    // of this process
	exported *machine.Config // the machine that resumes from the files of a snapshot
}

// guests returns the machines that are measured. A checkout has the workspaces.
func guests(env *measure.Env, checkout string) []*guest {
	boot, debian := workspace(filepath.Join(checkout, "e2e/boot")), workspace(filepath.Join(checkout, "e2e/debian"))
	all := []*guest{
		{name: "Linux with a Go init, 256 MiB", workspace: boot, memory: "256M"},
		{name: "Debian 12, 1 GiB", workspace: debian, memory: "1G", ready: "systemctl is-system-running --wait"},
		// The root of a Go init is a tmpfs, which takes at most half of the memory.
		{name: "Linux with a Go init, 3 GiB, 1.2 GiB dirty", workspace: boot, memory: "3G", dirty: 1200 << 20},
	}
	if env.Quick {
		all = all[:1]
	}
	for _, g := range all {
		g.env = env
	}
	return all
}

// Run measures how machines start, alone and together, and the agent.
func Run(env *measure.Env, checkout string) ([]report.Table, error) {
	start := report.Table{
		Name:  "machine",
		Title: "Starting a machine",
		Note: "The time until the guest has run a first command, which writes to its disk. `boot` waits for the guest as a snapshot does: " +
			"for the agent of a guest without a shell, else for `systemctl is-system-running --wait`. " +
			"`Fork` starts from a machine of the same process. `qemu_snapshot` starts from its files: it compares the fingerprint, too. " +
			"Disk is the space of RAM, state and layers on disk.",
		References: []string{"boot"},
	}
	together := report.Table{
		Name:  "machines",
		Title: "Machines at once",
		Note: "Machines of one `qemu_snapshot` that start at the same time, until each has run its first command. " +
			"Memory is the proportional set size of QEMU's processes, divided by their number: they share the pages of RAM that no guest has changed. " +
			"Memory of the test is the growth of the process that runs the machines, divided by their number.",
		References: []string{"1"},
	}
	answers := report.Table{
		Name:  "answer",
		Title: "The agent's first answer",
		Note: "The time from the start of QEMU. The reference is a boot until the kernel starts the first program (`Run … as init process`); " +
			"in a guest with an initrd, a boot without the agent until that initrd ends. The console shows the kernel's messages.",
		References: []string{kernelStart},
	}
	commands := report.Table{
		Name:  "agent",
		Title: "Commands and copies by the agent",
		Note: fmt.Sprintf("A command is `true`: /bin/true of the distribution, or a Go program in a guest that has nothing but the agent. "+
			"Its reference is a Go program in the guest that starts it and waits for its end. Copies are of %d MiB, "+
			"between the host and /dev/shm of the guest; their reference is a copy by a Go program within /dev/shm.", copySize>>20),
		References: []string{inGuest},
	}
	err := forEach(guests(env, checkout), func(g *guest) error {
		comparison, err := g.measureStart()
		if err != nil {
			return err
		}
		start.Comparisons = append(start.Comparisons, comparison)
		if comparison, err = g.measureTogether(); err != nil {
			return err
		}
		together.Comparisons = append(together.Comparisons, comparison)
		if g.dirty > 0 {
			return nil
		}
		if comparison, err = g.measureAnswer(); err != nil {
			return err
		}
		answers.Comparisons = append(answers.Comparisons, comparison)
		comparisons, err := g.measureAgent()
		commands.Comparisons = append(commands.Comparisons, comparisons...)
		return err
	})
	return []report.Table{start, together, answers, commands}, err
}

// forEach saves each guest and calls f with it.
func forEach(guests []*guest, f func(*guest) error) error {
	for _, g := range guests {
		g.env.Log("  %s", g.name)
		err := g.load()
		if err == nil {
			err = f(g)
			g.close()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
	}
	return nil
}

// loadConfig reads the description of a machine next to its executable.
func loadConfig(path string) (*machine.Config, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	r, err := runfiles.New(runfiles.ProgramName(path))
	if err != nil {
		return nil, err
	}
	return machine.Read(path, r.Rlocation)
}

// load builds the machine, and saves it for the contestants that resume.
func (g *guest) load() (err error) {
	if err := g.workspace.build("bench/vm"); err != nil {
		return err
	}
	if g.config, err = loadConfig(g.workspace.path("bench/vm")); err != nil {
		return err
	}
	g.config.Memory = g.memory
	g.config.Ready = &machine.Ready{Command: g.ready}
	if g.dir, err = os.MkdirTemp(g.env.Dir, "machine"); err != nil {
		return err
	}
	return g.save()
}

// save boots the machine and saves it, as qemu_snapshot does.
func (g *guest) save() error {
	work := filepath.Join(g.dir, "work")
	if err := os.Mkdir(work, 0o777); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	m, err := vm.Start(ctx, g.config, vm.Options{Dir: work, Agent: true, Saveable: true})
	if err != nil {
		return err
	}
	defer m.Close()
	if err := errors.Join(m.WaitReady(ctx), g.fill(ctx, m)); err != nil {
		return m.Report(err)
	}
	if g.snapshot, err = m.Freeze(ctx); err != nil {
		return err
	}
	path := func(name string) string { return filepath.Join(g.dir, name) }
	files := &machine.Snapshot{
		RAM: path("ram"), State: path("state"), Layers: m.Layers(),
		UEFIVars: path("vars"), Fingerprint: path("fingerprint.json"),
	}
	if err := g.snapshot.Export(files); err != nil {
		return err
	}
	exported := *g.config
	exported.Snapshot = files
	g.exported = &exported
	return nil
}

// fill makes the guest use memory: its files are in memory.
func (g *guest) fill(ctx context.Context, m *vm.Machine) error {
	if g.dirty == 0 {
		return nil
	}
	source := filepath.Join(g.dir, "source")
	defer os.Remove(source)
	if err := writeFile(source, g.dirty); err != nil {
		return err
	}
	return m.CopyTo(ctx, source, "/dirty")
}

func (g *guest) close() {
	g.snapshot.Close()
	os.RemoveAll(g.dir) // gigabytes
}

// first is a command that writes to the disk.
func (g *guest) first(ctx context.Context, m *vm.Machine) error {
	if g.ready == "" {
		return m.WriteFile(ctx, "/dev/vda", []byte("first"), 0o600)
	}
	return shell(ctx, m, "echo first >/root/first && sync /root/first")
}

// shell runs a line in the guest's shell. It must succeed.
func shell(ctx context.Context, m *vm.Machine, line string) error {
	var stderr vm.Tail
	result, err := m.Exec(ctx, vm.Command{Args: []string{"/bin/sh", "-ec", line}, Stderr: &stderr})
	if err == nil && !result.Success() {
		err = fmt.Errorf("%s: %v%s", line, result, vm.Outputs(&vm.Tail{}, &stderr))
	}
	return err
}

// run starts a machine, and returns the time until f has ended. The end of the
// machine does not count.
func run(env *measure.Env, config *machine.Config, f func(ctx context.Context, m *vm.Machine) error) (measure.Sample, error) {
	return runWith(env, config, vm.Options{Agent: true}, f)
}

// runFork is run for a machine that starts from a snapshot of this process.
func runFork(env *measure.Env, s *vm.Snapshot, f func(ctx context.Context, m *vm.Machine) error) (measure.Sample, error) {
	return runBy(env, s.Start, vm.Options{Agent: true}, f)
}

// runWith is run with options.
func runWith(env *measure.Env, config *machine.Config, o vm.Options, f func(ctx context.Context, m *vm.Machine) error) (measure.Sample, error) {
	return runBy(env, func(ctx context.Context, o vm.Options) (*vm.Machine, error) { return vm.Start(ctx, config, o) }, o, f)
}

// runBy runs a machine that starts by start.
func runBy(env *measure.Env, start func(context.Context, vm.Options) (*vm.Machine, error), o vm.Options, f func(ctx context.Context, m *vm.Machine) error) (sample measure.Sample, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	dir, err := os.MkdirTemp(env.Dir, "run")
	if err != nil {
		return sample, err
	}
	defer os.RemoveAll(dir)
	o.Dir = dir
	began := time.Now()
	m, err := start(ctx, o)
	if err != nil {
		return sample, err
	}
	defer m.Close()
	if err := f(ctx, m); err != nil {
		return sample, m.Report(err)
	}
	sample.Seconds = time.Since(began).Seconds()
	return sample, nil
}

func (g *guest) measureStart() (measure.Comparison, error) {
	files := g.exported.Snapshot
	return measure.Compare(g.name, g.env.Rounds,
		measure.Contestant{Name: "boot", Run: func() (measure.Sample, error) {
			return run(g.env, g.config, func(ctx context.Context, m *vm.Machine) error {
				return errors.Join(m.WaitReady(ctx), g.first(ctx, m))
			})
		}},
		measure.Contestant{Name: "Fork", Run: func() (measure.Sample, error) { return runFork(g.env, g.snapshot, g.first) }},
		measure.Contestant{Name: "qemu_snapshot", Run: func() (measure.Sample, error) {
			sample, err := run(g.env, g.exported, g.first)
			if err == nil {
				sample.Disk, err = measure.DiskUsage(append([]string{files.RAM, files.State}, files.Layers...)...)
			}
			return sample, err
		}},
	)
}
