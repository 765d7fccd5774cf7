package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Snapshot is the saved state of a machine. A Config with a Snapshot starts where
// the machine was saved. Any number of machines can do so, also at the same time:
// each has its own layers, and a private view of the RAM.
type Snapshot struct {
	RAM      string   `json:"ram"`       // path of the guest's RAM
	State    string   `json:"state"`     // path of the state of QEMU's devices
	Layers   []string `json:"layers"`    // paths of the guest's writes, one qcow2 layer per disk
	UEFIVars string   `json:"uefi_vars"` // path of the UEFI variables; "" without UEFI

	// Fingerprint is the path of a JSON file with the Fingerprint. It is ""
	// for a snapshot that this process has made: then nothing can differ.
	Fingerprint string `json:"fingerprint"`
	// OnMismatch says what happens if the fingerprint differs: "fail", or
	// "boot" for a machine that boots.
	OnMismatch string `json:"on_mismatch"`
	// AfterResume is a line for the guest's shell that runs once in each machine that
	// resumes, before anything else; "" for none.
	AfterResume string `json:"after_resume"`

	machine     *Machine // that was saved; nil if another process did so
	fingerprint *Fingerprint
	ram         *os.File // holds RAM open; nil if it is a named file
}

// A Card is a network card as the guest knows it.
type Card struct {
	MAC    string `json:"mac"`
	Prefix string `json:"prefix"` // address and length of the subnet, as in 10.77.0.2/24
}

// Close gives the RAM back to the host if no file has it. Machines that resumed
// keep theirs.
func (s *Snapshot) Close() error {
	if s.ram == nil {
		return nil
	}
	return s.ram.Close()
}

// Freeze ends the machine and returns its state, from which forks start. It needs
// Options.Saveable. Commands that run in the guest end in the forks as well,
// unless they are in the background.
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
	snapshots, err := freezeAll(ctx, machines)
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

// freezeAll returns the snapshots that it has made, also with an error.
func freezeAll(ctx context.Context, machines []*Machine) (snapshots []*Snapshot, err error) {
	for _, m := range machines {
		if _, err := m.qmp.execute(ctx, "stop", nil); err != nil {
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
	case !m.prepared.ownRAM && m.config.Snapshot != nil:
		return errors.New("a machine that resumed can be frozen only if it was started with vm.Saveable()")
	case !m.prepared.ownRAM:
		return errors.New("it can be frozen only if it was started with Options.Saveable")
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
	s := &Snapshot{
		machine:     m,
		RAM:         m.prepared.ram,
		State:       filepath.Join(m.options.Dir, "state"),
		Layers:      m.prepared.layers,
		UEFIVars:    m.prepared.vars,
		fingerprint: &Fingerprint{Agent: m.agent != nil, Cards: m.cards},
	}
	var err error
	if s.fingerprint.MachineType, err = m.machineType(ctx); err == nil {
		err = m.saveState(ctx, s.State)
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
	file := m.prepared.ramFile
	m.prepared.ramFile = nil
	return file
}

// machineType asks QEMU for the versioned type that Config.Machine stands for.
func (m *Machine) machineType(ctx context.Context) (string, error) {
	answer, err := m.qmp.execute(ctx, "qom-get", map[string]any{"path": "/machine", "property": "type"})
	if err != nil {
		return "", err
	}
	var class string
	if err := json.Unmarshal(answer, &class); err != nil {
		return "", err
	}
	return strings.TrimSuffix(class, "-machine"), nil
}

// saveState writes the state of QEMU's devices to a file. The RAM is in a file
// that all share: x-ignore-shared leaves it out.
func (m *Machine) saveState(ctx context.Context, path string) (err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	ours, theirs, err := socketPair(syscall.SOCK_STREAM)
	if err != nil {
		return err
	}
	defer ours.Close()
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(file, ours)
		copied <- err
	}()
	err = m.qmp.prepareMigration(ctx, theirs)
	theirs.Close()
	if err != nil {
		return err
	}
	if _, err := m.qmp.execute(ctx, "migrate", map[string]any{"uri": "fd:" + migrationFD}); err != nil {
		return err
	}
	if err := m.qmp.waitMigration(ctx); err != nil {
		return err
	}
	select {
	case err := <-copied: // QEMU has closed its end
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// migrationFD names the file descriptor of the state in QMP.
const migrationFD = "state"

// prepareMigration gives QEMU the file for a state, sets what both sides of a
// migration must agree on, and lifts the limit of the bandwidth.
func (c *qmpClient) prepareMigration(ctx context.Context, file *os.File) error {
	if err := c.sendFile(ctx, migrationFD, file); err != nil {
		return err
	}
	capabilities := []map[string]any{{"capability": "x-ignore-shared", "state": true}}
	if _, err := c.execute(ctx, "migrate-set-capabilities", map[string]any{"capabilities": capabilities}); err != nil {
		return err
	}
	_, err := c.execute(ctx, "migrate-set-parameters", map[string]any{"max-bandwidth": int64(1) << 40})
	return err
}

// migrationPoll is the time between two questions for the state of a migration,
// which takes 5 to 60 ms.
const migrationPoll = time.Millisecond

// waitMigration waits until a migration is complete, in either direction.
func (c *qmpClient) waitMigration(ctx context.Context) error {
	for {
		answer, err := c.execute(ctx, "query-migrate", nil)
		if err != nil {
			return err
		}
		var migration struct {
			Status string `json:"status"`
			Error  string `json:"error-desc"`
		}
		if err := json.Unmarshal(answer, &migration); err != nil {
			return err
		}
		switch migration.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return fmt.Errorf("the migration failed: %s", migration.Error)
		}
		if err := pause(ctx, migrationPoll); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// loadState restores the state of QEMU's devices. The machine is paused after it.
func (c *qmpClient) loadState(ctx context.Context, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	ours, theirs, err := socketPair(syscall.SOCK_STREAM)
	if err != nil {
		return err
	}
	var copying sync.WaitGroup
	defer copying.Wait()
	defer ours.Close()
	err = c.prepareMigration(ctx, theirs)
	theirs.Close()
	if err != nil {
		return err
	}
	if _, err := c.execute(ctx, "migrate-incoming", map[string]any{"uri": "fd:" + migrationFD}); err != nil {
		return err
	}
	copying.Add(1)
	go func() {
		defer copying.Done()
		io.Copy(ours, file) // QEMU reports a state that ends early
	}()
	return c.waitMigration(ctx)
}

// memoryArgs returns the arguments for RAM in a file. The guest writes to the file
// if p.ownRAM is set; else it has a private view.
func (p *prepared) memoryArgs(memory string) []string {
	if !strings.ContainsAny(memory[len(memory)-1:], "kKmMgGtT") {
		memory += "M" // QEMU's unit of -m
	}
	// A comma in a value is doubled.
	object := "memory-backend-file,id=ram,size=" + memory + ",mem-path=" + strings.ReplaceAll(p.ram, ",", ",,")
	switch {
	case p.ownRAM:
		object += ",share=on"
	case p.readOnlyRAM:
		object += ",share=off,readonly=on,rom=off"
	default:
		object += ",share=off"
	}
	return []string{"-object", object}
}
