package vm

import (
	"context"
	"encoding/json"
	"os"
)

// bootedBySystemd succeeds when systemd has started everything, or has failed to
// start some of it.
const bootedBySystemd = "case $(systemctl is-system-running --wait) in running | degraded) ;; *) exit 1 ;; esac"

// WaitReady waits until Config.Ready holds and the agent answers, if there is one.
// Without a command of its own, a guest with systemd is ready when its boot is over.
func (m *Machine) WaitReady(ctx context.Context) error {
	r := m.config.Ready
	if r == nil {
		return nil
	}
	if err := m.Expect(ctx, r.Expect...); err != nil {
		return err
	}
	if m.agent == nil {
		return nil
	}
	command := r.Command
	if command == "" {
		client, err := m.Agent(ctx)
		if err != nil {
			return err
		}
		if client.Info().PID1 != "systemd" {
			return nil
		}
		command = bootedBySystemd
	}
	return m.WaitFor(ctx, Command{Args: []string{"/bin/sh", "-c", command}}, 0)
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
