package vm

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/go/vm/plan"
)

// PowerOn starts a machine again that has ended, by PowerOff, by its guest's doing or by
// Stop. It boots in a new QEMU, and is the Machine that PowerOn returns. The context limits
// the start.
//
// The machine keeps its Options, its layers, its UEFI variables, the host's addresses of
// Ports, and its name and addresses on networks. The logs continue. It does not keep its
// RAM, addresses of Forward, and the console's text for Expect, which begins empty. A
// machine that had resumed from a snapshot boots from its layers. A machine can be powered
// on once; then power on the one that PowerOn returned.
func (m *Machine) PowerOn(ctx context.Context) (*Machine, error) {
	if err := m.claimPowerOn(); err != nil {
		return nil, err
	}
	next, err := startWith(ctx, m.config, nil, m.options, func() (*launch, error) {
		return m.launch.again(m.options.Saveable, len(m.agentLinks(false)) > 0, m.ports)
	})
	if err != nil {
		m.mu.Lock()
		m.poweredOn = false
		m.mu.Unlock()
	}
	return next, err
}

// claimPowerOn returns why the machine cannot be powered on, or nil the first time.
func (m *Machine) claimPowerOn() error {
	select {
	case <-m.done:
	default:
		return errors.New("power on: the machine still runs; power it off first, with PowerOff or Close")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.end.Frozen:
		return errors.New("power on: " + m.end.String())
	case m.poweredOn:
		return errors.New("power on: the machine was powered on before; use the machine that PowerOn returned")
	}
	m.poweredOn = true
	return nil
}

// again returns the launch of a machine that has ended, for its next boot. addresses says
// that the agent sets addresses. ports are the host's addresses of forwarded ports.
func (l *launch) again(saveable, addresses bool, ports map[string]string) (*launch, error) {
	next := &launch{
		config: l.config, dir: l.dir, setup: l.setup, commands: l.commands,
		booted: true, addresses: addresses, forwardPorts: keepPorts(l.config.ForwardPorts, ports),
	}
	next.setup.Resumes, next.setup.RAM, next.setup.Cards = false, plan.RAM{}, slices.Clone(l.setup.Cards)
	return next, next.addRAM(saveable)
}

// keepPorts returns forward_ports with the ports of the host that QEMU has chosen before.
func keepPorts(forwards []string, ports map[string]string) []string {
	kept := slices.Clone(forwards)
	for i, forward := range forwards {
		protocol, guest, _ := strings.Cut(forward, ":")
		_, host, err := net.SplitHostPort(ports[forward])
		if err == nil && !strings.Contains(guest, ":") {
			kept[i] = protocol + ":" + host + ":" + guest
		}
	}
	return kept
}

// planned returns the description that QEMU's arguments are made of.
func (l *launch) planned() *machine.Config {
	if !l.booted {
		return l.config
	}
	c := *l.config
	c.ForwardPorts = l.forwardPorts
	return &c
}
