package vm

import "context"

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
	if m.agentLink() == nil {
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
