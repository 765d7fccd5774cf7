package vm

import (
	"context"
	"encoding/json"
	"os"
)

// WaitReady waits until Config.Ready holds and the agent answers, if there is one.
func (m *Machine) WaitReady(ctx context.Context) error {
	r := m.config.Ready
	if r == nil {
		return nil
	}
	if err := m.Expect(ctx, r.Expect...); err != nil {
		return err
	}
	switch {
	case m.agent == nil:
		return nil
	case r.Command == "":
		_, err := m.Agent(ctx)
		return err
	}
	return m.WaitFor(ctx, Command{Args: []string{"/bin/sh", "-c", r.Command}}, 0)
}

// Export writes a snapshot that Freeze returned to the paths of to, for machines of
// other processes. The layers are not copied: Options.Layers has put them in their
// places.
func (s *Snapshot) Export(to *Snapshot) error {
	m := s.machine
	f, err := m.config.fingerprint(m.accelerator, s.fingerprint.Agent, s.fingerprint.Cards)
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
	if err := sparseCopy(to.RAM, s.RAM); err != nil {
		return err
	}
	if s.UEFIVars != "" {
		if err := copyFile(to.UEFIVars, s.UEFIVars); err != nil {
			return err
		}
	}
	return copyFile(to.State, s.State)
}
