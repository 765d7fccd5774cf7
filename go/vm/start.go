package vm

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/go/vm/network"
	"github.com/rules-qcow2/rules_qcow2/go/vm/plan"
	"github.com/rules-qcow2/rules_qcow2/go/vm/qemu"
	"github.com/rules-qcow2/rules_qcow2/internal/patterns"
)

// Start starts a machine: it boots, or resumes from Config.Snapshot. The context
// limits the start, not the life of the machine.
func Start(ctx context.Context, c *machine.Config, o Options) (*Machine, error) {
	from, mismatch, err := resolve(c)
	if err != nil {
		return nil, err
	}
	if from != nil {
		return from.Start(ctx, o)
	}
	m, err := start(ctx, c, nil, o)
	if err != nil || mismatch == nil {
		return m, err
	}
	m.stderrLine(fmt.Sprintf("the machine boots and does not resume: %v", mismatch))
	if err := m.WaitReady(ctx); err != nil {
		m.Close()
		return nil, m.Report(err)
	}
	return m, nil
}

// start starts a machine that boots, or resumes from a snapshot.
func start(ctx context.Context, c *machine.Config, from *Snapshot, o Options) (*Machine, error) {
	return startWith(ctx, c, from, o, func() (*launch, error) { return newLaunch(c, from, &o) })
}

// startWith is start with the files that prepare makes.
func startWith(ctx context.Context, c *machine.Config, from *Snapshot, o Options, prepare func() (*launch, error)) (*Machine, error) {
	m := &Machine{
		config: c, options: o, started: time.Now(),
		stop: make(chan struct{}), ended: make(chan struct{}), done: make(chan struct{}),
	}
	if m.options.CloseTimeout == 0 {
		m.options.CloseTimeout = c.TimeLimit(defaultCloseTimeout)
	}
	failOn, err := patterns.Compile("fail_on", o.FailOn)
	if err != nil {
		return nil, err
	}
	m.console = newConsole(failOn)
	if from != nil {
		go from.verify() // while QEMU starts
	}
	if m.launch, err = prepare(); err != nil {
		return nil, err
	}
	o.trace(StepFiles)
	if err := m.startQEMU(); err != nil {
		m.logs.close()
		m.detach()
		return nil, from.blame(err)
	}
	if m.launch.copiedRAM {
		m.stderrLine(copiedRAM(from.fingerprint.QEMU))
	}
	go m.supervise(m.readOutput())
	if link := m.agentLink(); link != nil {
		go m.connectAgent(context.Background(), link) // until the guest's end closes the channel
	}
	if err := m.run(ctx); err != nil {
		m.Close()
		return nil, from.blame(m.Report(fmt.Errorf("the machine did not start: %w", m.explain(err))))
	}
	if from != nil && m.agentLink() != nil {
		// Until the agent has set the clock, the guest's programs are stopped.
		if _, err := m.Agent(ctx); err != nil {
			m.Close()
			return nil, m.Report(fmt.Errorf("the machine did not resume: %w", err))
		}
	}
	return m, nil
}

// startQEMU starts QEMU with everything that connects it to this process.
func (m *Machine) startQEMU() error {
	c, l := m.config, m.launch
	withAgent := m.options.Agent && c.HasAgent()
	if m.options.Static && !withAgent {
		return fmt.Errorf("static addresses need an agent, and the machine does not have one (agent = %q); set kernel, or use DHCP", c.Agent)
	}
	script, err := l.script()
	if err != nil {
		return err
	}
	if err := l.addAgent(withAgent); err != nil {
		return err
	}
	if err := m.attach(); err != nil {
		return err
	}
	l.setup.Console = plan.Recorded
	p, err := plan.Make(l.planned(), &l.setup)
	if err != nil {
		return err
	}
	if err := m.logs.open(m.options.Logs, script, l.booted, slices.Contains(p.Descriptors, plan.Firmware)); err != nil {
		return err
	}
	files, closeFiles, err := m.connect(p.Descriptors)
	defer closeFiles()
	if err != nil {
		return err
	}
	m.process, err = qemu.Start(&qemu.Command{
		Program: c.QEMU, Args: p.Args, Env: append(os.Environ(), "TMPDIR="+m.options.Dir), Files: files, OnEvent: m.event,
	})
	return err
}

// connect opens what QEMU is connected to, and returns QEMU's ends. closeFiles closes
// those that QEMU alone uses: a port keeps its own.
func (m *Machine) connect(descriptors []plan.Descriptor) (files []*os.File, closeFiles func(), err error) {
	var theirs []*os.File
	closeFiles = func() {
		for _, f := range theirs {
			f.Close()
		}
	}
	links := m.links
	for _, d := range descriptors {
		if d == plan.Network {
			files, links = append(files, links[0].File()), links[1:]
			continue
		}
		var file *os.File
		switch d {
		case plan.Agent:
			if m.channel, file, err = qemu.SocketPair(syscall.SOCK_STREAM); err == nil {
				m.agent, err = newAgentLink(m.channel, m.launch.from != nil)
			}
		case plan.Firmware:
			m.firmware, file, err = qemu.SocketPair(syscall.SOCK_STREAM)
		}
		if file != nil {
			theirs = append(theirs, file)
		}
		if err != nil {
			return nil, closeFiles, err
		}
		files = append(files, file)
	}
	return files, closeFiles, nil
}

// attach attaches the machine to its networks. A machine that resumes has the
// cards that it was saved with; those without a network are cut off. Its guest knows the
// saved addresses until the agent sets others, or until a reset: QEMU then takes those of
// its arguments.
func (m *Machine) attach() error {
	setup := &m.launch.setup
	if s := m.launch.from; s != nil {
		setup.Cards = slices.Clone(s.fingerprint.Cards)
		m.cards = s.fingerprint.Cards
		if len(m.options.Networks) > len(setup.Cards) {
			return fmt.Errorf("%d networks are given, but the machine was saved with %d network cards; set network_cards = %[1]d of the qemu_snapshot, or attach the networks before Freeze or Fork",
				len(m.options.Networks), len(setup.Cards))
		}
	}
	for i, n := range m.options.Networks {
		port, err := n.Attach(m.Name())
		if err != nil {
			return err
		}
		m.links = append(m.links, port)
		if i == len(setup.Cards) {
			setup.Cards = append(setup.Cards, plan.Card{})
		}
		setup.Cards[i] = cardOf(port)
	}
	setup.Linked = len(m.links)
	for i := 0; i < m.options.Cards && !m.launch.booted; i++ {
		// 52:54:00 is QEMU's.
		setup.Cards = append(setup.Cards, plan.Card{MAC: fmt.Sprintf("52:54:00:00:00:%02x", i+1)})
	}
	if m.launch.from == nil {
		m.cards = setup.Cards
	}
	return nil
}

// cardOf returns the card by which a guest uses a port.
func cardOf(port *network.Port) plan.Card {
	return plan.Card{MAC: port.MAC().String(), Prefix: port.Prefix().String()}
}

// detach takes the machine off its networks.
func (m *Machine) detach() {
	for _, link := range m.links {
		link.Close()
	}
	if link := m.agentLink(); link != nil {
		link.conn.Close()
	}
	m.closeChannels()
	if ram := m.takeRAM(); ram != nil { // no snapshot has taken it
		ram.Close()
	}
}

// closeChannels closes the channels to QEMU that QEMU does not close itself.
func (m *Machine) closeChannels() {
	for _, channel := range []net.Conn{m.channel, m.firmware} {
		if channel != nil {
			channel.Close()
		}
	}
}

// run lets the guest run, once its forwarded ports are known.
func (m *Machine) run(ctx context.Context) error {
	if _, err := m.monitor().Execute(ctx, "qmp_capabilities", nil); err != nil {
		return err
	}
	m.options.trace(StepQEMU)
	if len(m.config.ForwardPorts) > 0 {
		var err error
		if m.ports, err = m.monitor().ForwardedPorts(ctx); err != nil {
			return err
		}
	}
	if s := m.launch.from; s != nil {
		if err := s.verify(); err != nil {
			return err
		}
		m.options.trace(StepFingerprint)
		if err := m.monitor().LoadState(ctx, s.files.State); err != nil {
			return err
		}
		m.options.trace(StepState)
	}
	_, err := m.monitor().Execute(ctx, "cont", nil)
	return err
}
