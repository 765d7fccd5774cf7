// Package vm runs virtual machines in QEMU.
//
// Start boots a machine from a Config. Expect waits for text on its console,
// Wait for its end; Close ends it. A machine writes only to its own folder:
// to private layers over its disks and to its own UEFI variables.
package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/network"
)

const (
	// After a match of FailOn, the console is read until the guest is silent
	// for settle, and for settleLimit at most.
	settle      = 300 * time.Millisecond
	settleLimit = 2 * time.Second
	// maxStderr bounds the lines of QEMU's standard error in a report.
	maxStderr = 100

	defaultCloseTimeout = 5 * time.Second
)

// DefaultFailOn are messages that mean a crash, or that the guest waits for a user: panics
// of Linux, emergency modes of systemd and dracut, the shell of initramfs-tools, the
// prompt of GRUB, a UEFI firmware without anything to boot from.
var DefaultFailOn = []string{
	"Kernel panic - not syncing",
	"BUG: unable to handle",
	"Oops: [0-9]",
	"You are in (emergency|rescue) mode",
	"Entering emergency mode\\. Exit the shell",
	"Gave up waiting for root file system device",
	"^grub( rescue)?> ",
	"BdsDxe: No bootable option or device was found",
}

// Options say how to run a machine.
type Options struct {
	// Dir is an empty folder for the machine's layers and temporary files. The
	// caller removes it after Close.
	Dir string
	// Logs is a folder for console.log, qemu.log, firmware.log, command and
	// screenshot.png, and for what CollectLogs collects. Without it, none is written. A
	// log ends after 64 MiB.
	Logs string
	// Console receives a copy of console.log.
	Console io.Writer
	// FailOn are regular expressions. A match on the console ends the machine.
	FailOn []string
	// Agent starts the agent in the guest, unless Config.Agent is AgentNone.
	Agent bool
	// Name is the machine's host name on its networks. The default is the last
	// part of Config.Target.
	Name string
	// Networks are the networks that the machine is attached to, each with one
	// network card.
	Networks []*network.Network
	// Static makes the agent set the addresses of the cards on Networks, the host
	// name and the DNS server.
	Static bool
	// Saveable keeps the RAM where Freeze can save it.
	Saveable bool
	// Cards is the number of network cards that are linked to nothing, after those
	// of Networks. Machines that resume can link them to networks.
	Cards int
	// Layers are where the guest's writes go, one per disk of the Config. Nil means
	// layers in Dir.
	Layers []Layer
	// Trace is called at the end of each step of the start, and of Freeze, by the
	// goroutine that did it, with the name of the step.
	Trace func(step string)
	// CloseTimeout limits all that happens once the machine is to end: the
	// screenshot, and QEMU's own end before it is killed. It also limits CollectLogs, and
	// how long the guest may take to end a command whose context is done. The default is
	// 5 s, times Config.TimeLimitFactor. [Reserve] has one for tests.
	CloseTimeout time.Duration
}

// Reserve divides the time that a test has: it should know its result when only reserve
// is left, which is for the end of the machine, its logs and the report. The machine's
// Options.CloseTimeout fits twice into reserve: for the end of a command in a guest that
// hangs, and for QEMU's.
func Reserve(total time.Duration) (reserve, closeTimeout time.Duration) {
	reserve = min(max(total/10, 2*time.Second), 15*time.Second, total/2)
	return reserve, min(reserve/4, defaultCloseTimeout)
}

// StepSaved is the step of Freeze after which QEMU ends.
const StepSaved = "saved"

// Steps of the start of a machine that resumes, in order. A machine that boots has the
// same, without StepFingerprint and StepState.
const (
	StepFingerprint = "fingerprint" // it was compared
	StepFiles       = "files"       // the machine's own layers exist
	StepQEMU        = "QEMU"        // QEMU has started and answers
	StepState       = "state"       // the state of the devices is loaded
	StepAgent       = "agent"       // the guest runs, and its agent answered
	StepWelcome     = "welcome"     // the guest has its time, random numbers and addresses
)

// A Layer is the qcow2 image with the guest's writes to a disk.
type Layer struct {
	Path    string // must not exist
	Backing string // the backing file name, if Path and the disk move; else ""
}

// A Machine is a running QEMU. Its methods may be called at the same time.
type Machine struct {
	config      *Config
	options     Options
	accelerator string
	prepared    *prepared
	started     time.Time

	process  *process
	qmp      *qmpClient
	console  *console
	logs     logs
	ports    map[string]string
	firmware net.Conn        // SeaBIOS's debug port; nil without one
	agent    *agentLink      // nil without an agent
	links    []*network.Port // one per network
	cards    []Card          // one per network, and those that a snapshot has besides

	stop     chan struct{} // closed by Stop
	stopOnce sync.Once
	ended    chan struct{} // closed when the guest or QEMU ends
	done     chan struct{} // closed after the last output of QEMU

	mu              sync.Mutex
	end             End
	stderr          []string
	screenshotError error
	failedUnits     []string // of systemd in the guest
}

// Start starts a machine: it boots, or resumes from Config.Snapshot. The context
// limits the start, not the life of the machine.
func Start(ctx context.Context, c *Config, o Options) (*Machine, error) {
	c, mismatch, err := c.resolve()
	if err != nil {
		return nil, err
	}
	m, err := start(ctx, c, o)
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

func (o *Options) trace(step string) {
	if o.Trace != nil {
		o.Trace(step)
	}
}

func start(ctx context.Context, c *Config, o Options) (*Machine, error) {
	if c.Snapshot != nil {
		o.trace(StepFingerprint)
	}
	m := &Machine{
		config: c, options: o, started: time.Now(),
		stop: make(chan struct{}), ended: make(chan struct{}), done: make(chan struct{}),
	}
	if m.options.CloseTimeout == 0 {
		m.options.CloseTimeout = c.TimeLimit(defaultCloseTimeout)
	}
	failOn, err := Compile("fail_on", o.FailOn)
	if err != nil {
		return nil, err
	}
	m.console = newConsole(failOn)
	if m.accelerator, err = thisHost().choose(c.Accel, c.Arch); err != nil {
		return nil, err
	}
	if m.prepared, err = prepare(c, &o); err != nil {
		return nil, err
	}
	o.trace(StepFiles)
	if err := m.startQEMU(); err != nil {
		m.logs.close()
		m.detach()
		return nil, err
	}
	m.qmp = newQMP(m.process.qmp, m.event)
	if m.prepared.copiedRAM {
		m.stderrLine(copiedRAM(c.Snapshot.fingerprint.QEMU))
	}
	go m.supervise(m.readOutput())
	if m.agent != nil {
		go m.connectAgent(context.Background()) // until the guest's end closes the channel
	}
	if err := m.run(ctx); err != nil {
		m.Close()
		return nil, m.Report(fmt.Errorf("the machine did not start: %w", m.explain(err)))
	}
	return m, nil
}

// startQEMU starts QEMU with everything that connects it to this process.
func (m *Machine) startQEMU() error {
	c, p := m.config, m.prepared
	withAgent := m.options.Agent && c.hasAgent()
	if m.options.Static && !withAgent {
		return fmt.Errorf("static addresses need an agent, and the machine does not have one (agent = %q); set kernel, or use DHCP", c.Agent)
	}
	command, err := c.args(m.accelerator, p.forScript())
	if err != nil {
		return err
	}
	if err := m.logs.open(m.options.Logs, p.script(c, command), c.hasDebugPort()); err != nil {
		return err
	}
	if withAgent || c.Snapshot != nil && c.Snapshot.fingerprint.Agent {
		if err := p.addAgent(c); err != nil {
			return err
		}
	}
	args, err := c.args(m.accelerator, p)
	if err != nil {
		return err
	}
	all := arguments(append(append(args, recorded...), qmpArgs...))
	// -S: QEMU starts paused, so that no event is missed.
	all.add("-S")
	if c.Snapshot != nil {
		all.add("-incoming", "defer")
	}
	var files []*os.File
	switch {
	case withAgent && (c.Snapshot == nil || c.Snapshot.fingerprint.Agent):
		link, theirs, err := newAgentLink()
		if err != nil {
			return err
		}
		defer theirs.Close()
		m.agent = link
		c.addAgent(&all, fmt.Sprintf("socket,id=agent,fd=%d", firstFD+len(files)))
		files = append(files, theirs)
	case c.Snapshot != nil && c.Snapshot.fingerprint.Agent:
		c.addAgent(&all, "null,id=agent") // the device must be there
	}
	if c.hasDebugPort() {
		ours, theirs, err := socketPair(syscall.SOCK_STREAM)
		if err != nil {
			return err
		}
		defer theirs.Close()
		m.firmware = ours
		addDebugPort(&all, firstFD+len(files))
		files = append(files, theirs)
	}
	if err := m.attach(); err != nil {
		return err
	}
	for i, card := range m.cards {
		fd := 0
		if i < len(m.links) {
			fd = firstFD + len(files)
			files = append(files, m.links[i].File())
		}
		c.addLink(&all, i, fd, card.MAC)
	}
	m.process, err = startQEMU(c.QEMU, all, append(os.Environ(), "TMPDIR="+m.options.Dir), files...)
	if err != nil {
		return fmt.Errorf("QEMU did not start: %w", err)
	}
	return nil
}

// attach attaches the machine to its networks. A machine that resumes has the
// cards that it was saved with; those without a network are cut off.
func (m *Machine) attach() error {
	if s := m.config.Snapshot; s != nil {
		m.cards = s.fingerprint.Cards
		if len(m.options.Networks) > len(m.cards) {
			return fmt.Errorf("the machine was saved with %d network cards, which is less than the %d networks for it; attach it to networks before it is saved",
				len(m.cards), len(m.options.Networks))
		}
	}
	for _, n := range m.options.Networks {
		port, err := n.Attach(m.Name())
		if err != nil {
			return err
		}
		m.links = append(m.links, port)
		if m.config.Snapshot == nil {
			m.cards = append(m.cards, Card{port.MAC().String(), port.Prefix().String()})
		}
	}
	for i := range m.options.Cards {
		// 52:54:00 is QEMU's.
		m.cards = append(m.cards, Card{MAC: fmt.Sprintf("52:54:00:00:00:%02x", i+1)})
	}
	return nil
}

// detach takes the machine off its networks.
func (m *Machine) detach() {
	for _, link := range m.links {
		link.Close()
	}
	if m.agent != nil {
		m.agent.conn.Close()
	}
	if m.firmware != nil {
		m.firmware.Close()
	}
	if ram := m.takeRAM(); ram != nil { // no snapshot has taken it
		ram.Close()
	}
}

// Name returns the machine's host name on its networks.
func (m *Machine) Name() string { return m.options.HostName(m.config) }

// HostName returns the host name of a machine with these options on its networks.
func (o *Options) HostName(c *Config) string {
	if o.Name != "" {
		return o.Name
	}
	return strings.ReplaceAll(c.Target[strings.LastIndexAny(c.Target, ":/")+1:], "_", "-")
}

// Links returns the machine's ports, one per network, in the order of
// Options.Networks.
func (m *Machine) Links() []*network.Port { return m.links }

// run lets the guest run, once its forwarded ports are known.
func (m *Machine) run(ctx context.Context) error {
	if _, err := m.qmp.execute(ctx, "qmp_capabilities", nil); err != nil {
		return err
	}
	m.options.trace(StepQEMU)
	var err error
	if m.ports, err = forwardedPorts(ctx, m.qmp, m.config); err != nil {
		return err
	}
	if m.config.Snapshot != nil {
		if err := m.qmp.loadState(ctx, m.config.Snapshot.State); err != nil {
			return err
		}
		m.options.trace(StepState)
	}
	_, err = m.qmp.execute(ctx, "cont", nil)
	return err
}

// readOutput reads QEMU's output and events, and returns a channel that closes
// when QEMU has ended and all have been read.
func (m *Machine) readOutput() <-chan struct{} {
	var readers sync.WaitGroup
	readAll := []func(){m.readConsole, func() { readLines(m.process.stderr, m.stderrLine) }}
	if m.firmware != nil {
		readAll = append(readAll, m.readFirmware)
	}
	for _, read := range readAll {
		readers.Add(1)
		go func() {
			defer readers.Done()
			read()
		}()
	}
	read, gone := make(chan struct{}), make(chan struct{})
	go func() {
		readers.Wait()
		close(read)
	}()
	go func() {
		<-m.process.exited
		// A child of QEMU may keep the outputs open.
		for _, end := range []func(){m.process.kill, m.process.close} {
			select {
			case <-read:
			case <-time.After(m.options.CloseTimeout):
				end()
			}
		}
		if m.firmware != nil {
			m.firmware.Close()
		}
		<-read
		m.process.close()
		<-m.qmp.closed
		close(gone)
	}()
	return gone
}

func (m *Machine) readConsole() {
	copied := log{w: m.options.Console}
	b := make([]byte, 64<<10)
	for {
		n, err := m.process.stdout.Read(b)
		if n > 0 {
			m.logs.console.Write(b[:n])
			copied.Write(b[:n])
			m.console.Write(b[:n])
		}
		if err != nil {
			m.console.close()
			return
		}
	}
}

func (m *Machine) stderrLine(line string) {
	m.mu.Lock()
	fmt.Fprintln(&m.logs.qemu, line)
	m.stderr = append(m.stderr, line)
	if len(m.stderr) > maxStderr {
		m.stderr = append(m.stderr[:0], m.stderr[1:]...)
	}
	m.mu.Unlock()
	if strings.Contains(line, "KVM internal error") || strings.Contains(line, "kvm run failed") {
		// QEMU would stay, and the guest would hang.
		m.finish(End{Failure: failure{errors.New(line), ErrHost}})
	}
}

func (m *Machine) event(event qmpEvent) {
	switch {
	case event.Name == "SHUTDOWN":
		m.finish(End{Reason: event.Data.Reason})
	case event.Name == "BLOCK_IO_ERROR" && event.Data.Action == "stop":
		// If the host has no space left, QEMU stops the guest. Other errors
		// are reported to the guest.
		m.finish(End{Failure: failure{fmt.Errorf("the host has no space left for the guest's writes to %s: %s", event.Data.Node, event.Data.Reason), ErrHost}})
	}
}

// TimeLimit returns a time limit, multiplied by Config.TimeLimitFactor. The limits of
// Exec and WaitFor are multiplied there.
func (m *Machine) TimeLimit(limit time.Duration) time.Duration { return m.config.TimeLimit(limit) }

// Accelerator returns kvm or tcg.
func (m *Machine) Accelerator() string { return m.accelerator }

// Layers returns the paths of the images that the guest writes to, one per
// disk.
func (m *Machine) Layers() []string { return m.prepared.layers }

// ConsoleLog returns the path of console.log, "" without Options.Logs.
func (m *Machine) ConsoleLog() string {
	if m.options.Logs == "" {
		return ""
	}
	return filepath.Join(m.options.Logs, "console.log")
}

// explain adds to an error how QEMU ended, if it ended before it was told to.
func (m *Machine) explain(err error) error {
	select {
	case <-m.done:
	default:
		return err
	}
	switch end := m.End(); {
	case end.Failure != nil:
		return end.Failure
	case !end.Stopped && errors.Is(err, errQMPClosed):
		return end.Err()
	case !end.Stopped:
		return fmt.Errorf("%w: %w", err, end.Err())
	}
	return err
}
