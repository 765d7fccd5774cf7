package vm

import (
	"context"
	"fmt"

	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
)

// Reboot makes the guest stop its services, unmount its file systems and reset the
// machine, and waits until its agent answers in the next boot. The machine keeps its
// layers, its UEFI variables, its console and its forwarded ports. What runs in the guest
// ends, connections of Dial included.
//
// A machine that resumed from a snapshot boots as well, from its own layers. Then its
// network cards have the addresses of its own networks from the start of the boot.
func (m *Machine) Reboot(ctx context.Context) error {
	if err := m.bootAgain(ctx, func() error {
		return m.withAgent(ctx, func(c *agent.Client) error { return c.Reboot(ctx) })
	}); err != nil {
		return fmt.Errorf("reboot: %w", err)
	}
	return nil
}

// Reset resets the machine, as its reset button does: the guest is not asked, as if its
// power had failed for a moment. Then it is as Reboot.
func (m *Machine) Reset(ctx context.Context) error {
	if err := m.bootAgain(ctx, func() error {
		_, err := m.monitor().Execute(ctx, "system_reset", nil)
		return err
	}); err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	return nil
}

// bootAgain calls reset, which resets the machine, and waits until the guest's agent
// answers.
func (m *Machine) bootAgain(ctx context.Context, reset func() error) error {
	link := m.agentLink()
	if link == nil {
		return fmt.Errorf("the machine does not have an agent to answer after it (agent = %q); set kernel or agent", m.config.Agent)
	}
	m.rebooting.Lock()
	defer m.rebooting.Unlock()
	reboots := make(chan struct{}, 1)
	m.mu.Lock()
	m.reboots = reboots
	m.mu.Unlock()
	// A reset at any other time ends the machine: see -no-reboot.
	if err := m.onReset(ctx, "reset"); err != nil {
		return m.explain(err)
	}
	defer func() {
		m.mu.Lock()
		m.reboots = nil
		m.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.options.CloseTimeout)
		defer cancel()
		m.onReset(ctx, "shutdown")
	}()
	if err := reset(); err != nil {
		return m.explain(err)
	}
	select {
	case <-reboots:
	case <-m.done:
		return m.End().Err()
	case <-ctx.Done():
		return fmt.Errorf("the guest did not reset the machine: %w", context.Cause(ctx))
	}
	link.conn.Close()
	next, err := newAgentLink(m.channel, false)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.agent = next
	m.cards = m.launch.setup.Cards // a reset undoes what the agent has set
	m.mu.Unlock()
	go m.connectAgent(context.Background(), next)
	_, err = m.Agent(ctx)
	return err
}

// onReset sets what QEMU does when the machine is reset: "reset", or "shutdown", which
// ends it.
func (m *Machine) onReset(ctx context.Context, action string) error {
	_, err := m.monitor().Execute(ctx, "set-action", map[string]any{"reboot": action})
	return err
}

// rebooted records a reset of the machine. The guest chooses how often it comes.
func (m *Machine) rebooted() {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case m.reboots <- struct{}{}:
	default:
	}
}
