package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/go/vm/plan"
	"github.com/rules-qcow2/rules_qcow2/internal/sparse"
)

// A Snapshot is the saved state of a machine, from which any number of machines can start,
// also at the same time. Freeze returns one for this process; Export writes it for others.
type Snapshot struct {
	config      *machine.Config // of the machine that was saved
	files       machine.Snapshot
	fingerprint *plan.Fingerprint
	// verify compares the fingerprint with this host. A plan.MismatchError says why a machine
	// cannot resume here.
	verify func() error
	ram    *os.File // holds files.RAM open; nil if it is a named file
	// initrd is the path of the initrd with the agent, which a machine that resumed reads
	// when it reboots; "" if each machine makes its own.
	initrd string
	// accelerator is that of the machine that was saved; "" if another process did so.
	accelerator string
	busy        string
}

// blame returns why a machine cannot resume here, or else err. QEMU may fail for the same
// reason, and say less.
func (s *Snapshot) blame(err error) error {
	if s != nil {
		if mismatch := s.verify(); mismatch != nil {
			return mismatch
		}
	}
	return err
}

// Busy says what ran in a guest that was not at rest when Freeze saved it, and so goes on in
// each machine that resumes, before its first command; "" for a guest at rest.
func (s *Snapshot) Busy() string { return s.busy }

// Start starts a machine that goes on from where the snapshot was made. Options.Dir and
// Options.Logs must be other folders than those of the machine that was saved.
func (s *Snapshot) Start(ctx context.Context, o Options) (*Machine, error) {
	return start(ctx, s.config, s, o)
}

// Close gives the RAM back to the host if no file has it. Machines that resumed
// keep theirs.
func (s *Snapshot) Close() error {
	if s.ram == nil {
		return nil
	}
	return s.ram.Close()
}

// RAM returns the path of the guest's RAM, a sparse file that other processes may not be
// able to open. It is valid until Close.
func (s *Snapshot) RAM() string { return s.files.RAM }

// Export writes a snapshot that Freeze returned to the paths of to, for machines of
// other processes. The layers are not copied: Options.Layers has put them in their
// places. If to.RAM is "", the caller copies the file of [Snapshot.RAM].
func (s *Snapshot) Export(to *machine.Snapshot) error {
	f, err := newFingerprint(s.config, s.accelerator, s.fingerprint)
	if err != nil {
		return err
	}
	f.MachineType = s.fingerprint.MachineType
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(to.Fingerprint, append(b, '\n'), 0o666); err != nil {
		return err
	}
	if to.RAM != "" {
		if err := sparse.CopyFile(to.RAM, s.files.RAM); err != nil {
			return err
		}
	}
	if s.files.UEFIVars != "" {
		if err := copyFile(s.files.UEFIVars, to.UEFIVars); err != nil {
			return err
		}
	}
	return copyFile(s.files.State, to.State)
}

// Freeze ends the machine and returns its state, from which forks start. It needs
// Options.Saveable. Commands that run in the guest end in the forks as well,
// unless they are in the background.
//
// With an agent, Freeze first waits until the guest is at rest, for 10 s times
// Config.TimeLimitFactor at most. Then it stops the guest's programs, which go on in a fork
// when that has its own time, random numbers and addresses. See docs/snapshots.md.
//
// Machines that talk to each other are frozen together: see [FreezeAll].
func (m *Machine) Freeze(ctx context.Context) (*Snapshot, error) {
	snapshots, err := FreezeAll(ctx, m)
	if err != nil {
		return nil, err
	}
	return snapshots[0], nil
}

// FreezeAll pauses all machines and then saves each, so that none acts on the
// disappearance of another. If one cannot be frozen, all go on. If the save of one
// fails, all end.
func FreezeAll(ctx context.Context, machines ...*Machine) ([]*Snapshot, error) {
	for _, m := range machines {
		if err := m.canFreeze(); err != nil {
			return nil, fmt.Errorf("freeze %s: %w", m.Name(), err)
		}
	}
	busy, err := calmAll(ctx, machines)
	if err != nil {
		return nil, err
	}
	snapshots, err := freezeAll(ctx, machines)
	for i, s := range snapshots {
		s.busy = busy[i]
	}
	if err != nil {
		for _, s := range snapshots {
			s.Close()
		}
		for _, m := range machines {
			m.Close()
		}
		return nil, err
	}
	return snapshots, nil
}

// restLimit limits how long a guest may take to be at rest.
const restLimit = 10 * time.Second

// answered is how long a guest runs after its last answer, so that its agent waits for the
// next request when it is saved.
const answered = 20 * time.Millisecond

// calmAll waits until the guests are at rest, and stops their programs. For each machine, it
// returns Snapshot.Busy. After an error, the programs go on.
func calmAll(ctx context.Context, machines []*Machine) (busy []string, err error) {
	busy = make([]string, len(machines))
	each := func(f func(int, *agent.Client) error) error {
		errs := make([]error, len(machines))
		var wait sync.WaitGroup
		for i, m := range machines {
			if m.agentLink() == nil {
				continue
			}
			wait.Add(1)
			go func() {
				defer wait.Done()
				err := m.withAgent(ctx, func(c *agent.Client) error { return f(i, c) })
				if err != nil {
					errs[i] = fmt.Errorf("freeze %s: %w", m.Name(), err)
				}
			}()
		}
		wait.Wait()
		return errors.Join(errs...)
	}
	if err := each(func(i int, c *agent.Client) error {
		m := machines[i]
		limit, began := m.config.TimeLimit(restLimit), time.Now()
		rested, err := c.Rest(ctx, limit)
		if err != nil {
			return fmt.Errorf("wait until the guest is at rest: %w", err)
		}
		if !rested.AtRest {
			busy[i] = fmt.Sprintf("the guest was not at rest within %v, and is saved as it is; its programs took %.200q of processor time", limit, rested.Busy)
			m.stderrLine(busy[i])
		} else {
			m.logLine(fmt.Sprintf("the guest was at rest after %.1f s; its programs took %.200q of processor time", time.Since(began).Seconds(), rested.Busy))
		}
		return nil
	}); err != nil {
		return nil, err
	}
	if err := each(func(i int, c *agent.Client) error { return c.Freeze(ctx) }); err != nil {
		thaw := each(func(i int, c *agent.Client) error {
			_, err := c.Configure(context.WithoutCancel(ctx), agent.Configure{Thaw: true})
			return err
		})
		return nil, errors.Join(err, thaw)
	}
	time.Sleep(answered)
	for _, m := range machines {
		m.options.trace(StepRest)
	}
	return busy, nil
}

// freezeAll returns the snapshots that it has made, also with an error.
func freezeAll(ctx context.Context, machines []*Machine) (snapshots []*Snapshot, err error) {
	for _, m := range machines {
		if _, err := m.monitor().Execute(ctx, "stop", nil); err != nil {
			return nil, fmt.Errorf("freeze %s: %w", m.Name(), m.explain(err))
		}
	}
	for _, m := range machines {
		s, err := m.save(ctx)
		if err != nil {
			return snapshots, fmt.Errorf("freeze %s: %w", m.Name(), err)
		}
		snapshots = append(snapshots, s)
	}
	return snapshots, nil
}

// canFreeze returns why the machine cannot be frozen, or nil.
func (m *Machine) canFreeze() error {
	select {
	case <-m.done:
		return m.End().Err()
	default:
	}
	switch {
	case !m.launch.setup.RAM.Own && m.launch.from != nil:
		return errors.New("a machine that resumed does not have RAM of its own to save; start it with vmtest.WithSaveable(), or Options.Saveable in package vm")
	case !m.launch.setup.RAM.Own:
		return errors.New("its RAM is not where it can be saved; start it with Options.Saveable")
	}
	for _, disk := range m.config.Disks {
		if disk.Interface == "nvme" {
			return fmt.Errorf("disk %s: QEMU cannot save an nvme device; use virtio, scsi or ide", disk.Path)
		}
	}
	return nil
}

// save writes the state of the machine, which is paused, and ends it.
func (m *Machine) save(ctx context.Context) (*Snapshot, error) {
	l := m.launch
	s := &Snapshot{
		config: m.config,
		files: machine.Snapshot{
			RAM: l.setup.RAM.Path, State: filepath.Join(m.options.Dir, "state"), Layers: l.setup.Layers, UEFIVars: l.setup.UEFIVars,
		},
		initrd:      l.setup.Initrd,
		fingerprint: &plan.Fingerprint{Agent: l.setup.Agent, Cards: m.guestCards()},
		verify:      func() error { return nil }, // it is the same process
		accelerator: l.setup.Accelerator,
	}
	var err error
	if s.fingerprint.MachineType, err = m.monitor().MachineType(ctx); err == nil {
		err = m.monitor().SaveState(ctx, s.files.State)
	}
	if err != nil {
		m.Close()
		return nil, m.explain(err)
	}
	m.options.trace(StepSaved)
	s.ram = m.takeRAM()
	m.finish(End{Frozen: true})
	select {
	case <-m.done:
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), s.Close())
	}
	if !m.End().Frozen { // it ended while its state was written
		return nil, errors.Join(m.End().Err(), s.Close())
	}
	return s, nil
}

// takeRAM returns the open file with the RAM, which the caller must close, or nil if it
// is a named file or was taken before.
func (m *Machine) takeRAM() *os.File {
	m.mu.Lock()
	defer m.mu.Unlock()
	file := m.launch.ramFile
	m.launch.ramFile = nil
	return file
}
