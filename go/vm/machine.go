// Package vm runs virtual machines in QEMU.
//
// Start boots a machine from its description, a [machine.Config]. Expect waits for text on its console,
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

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/go/vm/network"
	"github.com/rules-qcow2/rules_qcow2/go/vm/plan"
	"github.com/rules-qcow2/rules_qcow2/go/vm/qemu"
	"github.com/rules-qcow2/rules_qcow2/internal/bounded"
	"github.com/rules-qcow2/rules_qcow2/internal/patterns"
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
	config  *machine.Config
	options Options
	launch  *launch
	started time.Time

	process  *qemu.Process
	console  *console
	logs     logs
	ports    map[string]string
	firmware net.Conn        // SeaBIOS's debug port; nil without one
	links    []*network.Port // one per network

	stop     chan struct{} // closed by Stop
	stopOnce sync.Once
	ended    chan struct{} // closed when the guest or QEMU ends
	done     chan struct{} // closed after the last output of QEMU

	rebooting sync.Mutex // held while the guest reboots

	mu              sync.Mutex
	agent           *agentLink    // of the present boot; nil without an agent
	reboots         chan struct{} // receives an item for a reset that is expected
	end             End
	stderr          []string
	screenshotError error
	failedUnits     []string // of systemd in the guest
}

// Start starts a machine: it boots, or resumes from Config.Snapshot. The context
// limits the start, not the life of the machine.
func Start(ctx context.Context, c *machine.Config, o Options) (*Machine, error) {
	from, mismatch, err := resolve(c)
	if err != nil {
		return nil, err
	}
	if from != nil {
		o.trace(StepFingerprint)
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

func (o *Options) trace(step string) {
	if o.Trace != nil {
		o.Trace(step)
	}
}

// start starts a machine that boots, or resumes from a snapshot.
func start(ctx context.Context, c *machine.Config, from *Snapshot, o Options) (*Machine, error) {
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
	if m.launch, err = newLaunch(c, from, &o); err != nil {
		return nil, err
	}
	o.trace(StepFiles)
	if err := m.startQEMU(); err != nil {
		m.logs.close()
		m.detach()
		return nil, err
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
		return nil, m.Report(fmt.Errorf("the machine did not start: %w", m.explain(err)))
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
	l.setup.DebugPort = l.from == nil && plan.HasDebugPort(c)
	script, err := l.script()
	if err != nil {
		return err
	}
	if err := m.logs.open(m.options.Logs, script, l.setup.DebugPort); err != nil {
		return err
	}
	if err := l.addAgent(withAgent); err != nil {
		return err
	}
	if err := m.attach(); err != nil {
		return err
	}
	l.setup.Console = plan.Recorded
	p, err := plan.Make(c, &l.setup)
	if err != nil {
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
			m.agent, file, err = newAgentLink()
		case plan.Firmware:
			m.firmware, file, err = qemu.SocketPair(syscall.SOCK_STREAM)
		}
		if err != nil {
			return nil, closeFiles, err
		}
		theirs, files = append(theirs, file), append(files, file)
	}
	return files, closeFiles, nil
}

// attach attaches the machine to its networks. A machine that resumes has the
// cards that it was saved with; those without a network are cut off.
func (m *Machine) attach() error {
	setup := &m.launch.setup
	if s := m.launch.from; s != nil {
		setup.Cards = s.fingerprint.Cards
		if len(m.options.Networks) > len(setup.Cards) {
			return fmt.Errorf("the machine was saved with %d network cards, which is less than the %d networks for it; attach it to networks before it is saved",
				len(setup.Cards), len(m.options.Networks))
		}
	}
	for _, n := range m.options.Networks {
		port, err := n.Attach(m.Name())
		if err != nil {
			return err
		}
		m.links = append(m.links, port)
		if m.launch.from == nil {
			setup.Cards = append(setup.Cards, cardOf(port))
		}
	}
	setup.Linked = len(m.links)
	for i := range m.options.Cards {
		// 52:54:00 is QEMU's.
		setup.Cards = append(setup.Cards, plan.Card{MAC: fmt.Sprintf("52:54:00:00:00:%02x", i+1)})
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
func (o *Options) HostName(c *machine.Config) string {
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
		if err := m.monitor().LoadState(ctx, s.files.State); err != nil {
			return err
		}
		m.options.trace(StepState)
	}
	_, err := m.monitor().Execute(ctx, "cont", nil)
	return err
}

// monitor returns the connection to QEMU's monitor.
func (m *Machine) monitor() *qemu.Monitor { return m.process.Monitor }

// readOutput reads QEMU's output and events, and returns a channel that closes
// when QEMU has ended and all have been read.
func (m *Machine) readOutput() <-chan struct{} {
	var readers sync.WaitGroup
	readAll := []func(){m.readConsole, func() { readLines(m.process.Stderr, m.stderrLine) }}
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
		<-m.process.Exited()
		// A child of QEMU may keep the outputs open.
		for _, end := range []func(){m.process.Kill, m.process.Close} {
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
		m.process.Close()
		<-m.monitor().Closed()
		close(gone)
	}()
	return gone
}

func (m *Machine) readConsole() {
	copied := bounded.Log{W: m.options.Console, Limit: maxLog}
	b := make([]byte, 64<<10)
	for {
		n, err := m.process.Stdout.Read(b)
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

func (m *Machine) event(event qemu.Event) {
	switch {
	case event.Name == "RESET":
		m.rebooted()
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
func (m *Machine) Accelerator() string { return m.launch.setup.Accelerator }

// Layers returns the paths of the images that the guest writes to, one per
// disk.
func (m *Machine) Layers() []string { return m.launch.setup.Layers }

// Ports returns the host's addresses of forwarded ports, as in
// "127.0.0.1:34567", by the protocol and the guest's port, as in "tcp:22".
func (m *Machine) Ports() map[string]string { return m.ports }

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
	case !end.Stopped && errors.Is(err, qemu.ErrMonitorClosed):
		return end.Err()
	case !end.Stopped:
		return fmt.Errorf("%w: %w", err, end.Err())
	}
	return err
}
