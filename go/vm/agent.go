package vm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/go/vm/plan"
)

// Command is a command to run in the guest.
type Command = agent.Command

// Result says how a command ended.
type Result = agent.Result

// An agentLink is the host's end of the agent's channel.
type agentLink struct {
	resumed bool // the guest resumed and has not booted since

	conn     net.Conn
	answered atomic.Bool   // the agent has answered
	ready    chan struct{} // closed when client or err is set: the guest is prepared
	client   *agent.Client
	err      error

	losing sync.Once
	loss   chan struct{}
}

// connectAgent waits for the agent's first answer.
func (m *Machine) connectAgent(ctx context.Context, l *agentLink) {
	defer close(l.ready)
	if l.client, l.err = agent.New(ctx, l.conn); l.err != nil {
		return
	}
	l.answered.Store(true)
	l.client.SetGrace(m.options.CloseTimeout)
	m.options.trace(StepAgent)
	if l.err = m.welcome(ctx, l); l.err == nil {
		m.options.trace(StepWelcome)
	}
}

// agentLink returns the link to the agent of the guest's present boot; nil without an
// agent.
func (m *Machine) agentLink() *agentLink {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.agent
}

// welcome prepares the guest for the first command: it sets addresses, and gives a
// guest that resumed the time and its own random numbers.
func (m *Machine) welcome(ctx context.Context, l *agentLink) error {
	links := m.agentLinks(l.resumed)
	if l.resumed {
		if err := m.launch.from.refresh(ctx, l.client, links); err != nil {
			return err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.cards = m.launch.setup.Cards
		return nil
	}
	if len(links) == 0 {
		return nil
	}
	if _, err := l.client.Configure(ctx, agent.Configure{Links: links}); err != nil {
		return fmt.Errorf("set static addresses: %w", err)
	}
	return nil
}

// guestCards returns the network cards as the guest knows them.
func (m *Machine) guestCards() []plan.Card {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cards
}

// agentLinks returns the addresses that the agent sets. A guest that resumed on other
// networks gets them as with DHCP, which it may lack: also when it boots again.
func (m *Machine) agentLinks(resumed bool) (links []agent.Link) {
	cards := m.guestCards()
	for i, port := range m.links {
		moved := m.launch.from != nil && m.launch.from.fingerprint.Cards[i] != cardOf(port)
		if !moved && !m.options.Static && !m.launch.addresses {
			continue
		}
		link := agent.Link{MAC: cards[i].MAC, Prefix: port.Prefix().String()}
		if moved && resumed {
			link.NewMAC = port.MAC().String()
		}
		if i == 0 {
			n := m.options.Networks[0]
			link.Hostname, link.Nameserver, link.Domain = port.Name(), n.Addr().String(), n.Domain()
		}
		links = append(links, link)
	}
	return links
}

// refresh gives a guest that resumed its own random numbers, the time and addresses. Then
// the guest's programs go on, and the user's line runs.
func (s *Snapshot) refresh(ctx context.Context, client *agent.Client, links []agent.Link) error {
	seed := make([]byte, 64)
	rand.Read(seed)
	_, err := client.Configure(ctx, agent.Configure{Seed: string(seed), Links: links})
	// The time comes apart: the guest does the above for the first time since it resumed, which
	// may have taken it long, and its programs react to each change of the clock.
	for i := 0; err == nil && i < clockTries; i++ {
		var guest time.Time
		guest, err = client.Configure(ctx, agent.Configure{Time: time.Now().UnixNano(), Thaw: true})
		if time.Since(guest) < clockError {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("the guest resumed, but its random numbers, its clock and its addresses could not be set: %w; build the snapshot again, or look at the console for a guest that hangs", err)
	}
	if line := s.files.AfterResume; line != "" {
		return runAfterResume(ctx, client, line)
	}
	return nil
}

const (
	// An answer has the guest's time. When it arrives, that time is older than the host's by the
	// error of the guest's clock and by the way of the answer. If both together are more than
	// clockError, the clock is set again, clockTries times in all.
	clockError = 20 * time.Millisecond
	clockTries = 3
)

// runAfterResume runs the user's line in a guest that resumed.
func runAfterResume(ctx context.Context, client *agent.Client, line string) error {
	var stdout, stderr Tail
	result, err := client.Run(ctx, Command{Args: []string{"/bin/sh", "-c", line}, Stdout: &stdout, Stderr: &stderr})
	if err == nil && !result.Success() {
		err = errors.New(result.String())
	}
	if err != nil {
		return fmt.Errorf("after_resume %q: %w%s", line, err, Outputs(&stdout, &stderr))
	}
	return nil
}

// newAgentLink returns a link by the agent's channel. Each has another descriptor of the same
// socket, which its client closes.
func newAgentLink(channel net.Conn, resumed bool) (*agentLink, error) {
	file, err := channel.(*net.UnixConn).File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	return &agentLink{resumed: resumed, conn: conn, ready: make(chan struct{})}, nil
}

// portDelay is how long the host reads what an agent has sent before it ended.
const portDelay = time.Second

// portClosed ends the session with an agent that has closed its port, as it does when it is
// killed. In a boot, drivers and earlier stages may do so before the agent answers.
func (l *agentLink) portClosed() {
	if l.resumed || l.answered.Load() {
		l.conn.SetReadDeadline(time.Now().Add(portDelay))
	}
}

// Agent returns the connection to the agent in the guest. It waits until the agent
// answers, which it does while the guest still boots: if systemd is the init, once the local
// file systems are mounted.
func (m *Machine) Agent(ctx context.Context) (*agent.Client, error) {
	link := m.agentLink()
	if link == nil {
		return nil, fmt.Errorf("the machine does not have an agent (agent = %q); set kernel, or agent = \"systemd\", \"cloud-init\" or \"installed\"", m.config.Agent)
	}
	if end := m.End(); end.Frozen {
		return nil, errors.New(end.String())
	}
	select {
	case <-link.ready:
	case <-m.done:
		return nil, fmt.Errorf("%w before the agent answered", m.End().Err())
	case <-ctx.Done():
		return nil, m.Report(fmt.Errorf("the agent did not answer: %w; %s", context.Cause(ctx), m.agentHint()))
	}
	switch err := link.err; {
	case err == nil:
		return link.client, nil
	case link.client == nil && errors.Is(err, agent.ErrGone):
		return nil, fmt.Errorf("%w before the agent answered", m.Explain(err))
	default:
		return nil, m.Explain(err)
	}
}

// agentAnswered reports whether there is an agent that has answered.
func (m *Machine) agentAnswered() bool {
	link := m.agentLink()
	if link == nil {
		return false
	}
	select {
	case <-link.ready:
		return link.client != nil
	default:
		return false
	}
}

// agentHint says how the agent should have started, and what a user can change.
func (m *Machine) agentHint() string {
	if m.agentLink().resumed {
		return "it answered before the guest was saved: the guest may hang since then"
	}
	c := m.config
	driver, other := "virtio_console", `, or set agent_channel = "serial"`
	if c.AgentChannel == machine.ChannelSerial {
		driver, other = "16550 serial ports (the agent uses ttyS1)", ""
	}
	switch c.Agent {
	case machine.AgentInitrd:
		return `it was put in front of the initrd (agent = "initrd"): check that kernel_args do not set rdinit= and that the kernel supports an initrd and ` + driver + other
	case machine.AgentSystemd:
		return `systemd got a unit for it by SMBIOS (agent = "systemd"): check that the guest has systemd 256 or newer, virtio_blk, vfat and ` + driver + `; if its systemd is older, set agent = "cloud-init", or kernel and agent = "initrd"`
	case machine.AgentCloudInit:
		return `cloud-init got a seed for it (agent = "cloud-init"): check that the guest has cloud-init, enabled and with the NoCloud data source, virtio_blk, vfat and ` + driver + `; if it does not have cloud-init, set agent = "systemd", or kernel and agent = "initrd"`
	}
	return `the image must start it (agent = "installed"): check its unit, and that the guest has ` + driver
}

// Explain adds to an error of the agent's client how the machine ended, if it ended. When
// the session is lost, it waits for that end, Options.CloseTimeout at most and once.
func (m *Machine) Explain(err error) error {
	link := m.agentLink()
	if client := link.client; client != nil && client.Err() == nil {
		return err // an error of one request
	}
	select {
	case <-m.done:
		if errors.Is(err, agent.ErrGone) {
			return m.End().Err() // it is why
		}
		return fmt.Errorf("%w: %w", m.End().Err(), err)
	case <-link.lost(m.options.CloseTimeout):
		return err
	}
}

// lost returns a channel that closes some time after its first call.
func (l *agentLink) lost(delay time.Duration) <-chan struct{} {
	l.losing.Do(func() {
		l.loss = make(chan struct{})
		time.AfterFunc(delay, func() { close(l.loss) })
	})
	return l.loss
}

// withAgent calls f with the agent.
func (m *Machine) withAgent(ctx context.Context, f func(*agent.Client) error) error {
	client, err := m.Agent(ctx)
	if err != nil {
		return err
	}
	if err := f(client); err != nil {
		return m.Explain(err)
	}
	return nil
}

// Exec runs a command in the guest and waits for its end. Any exit status is a
// result, not an error. When the context ends, the command is killed with all
// its descendants. Config.TimeLimitFactor multiplies Command.TimeLimit.
func (m *Machine) Exec(ctx context.Context, cmd Command) (result Result, err error) {
	cmd.TimeLimit = m.TimeLimit(cmd.TimeLimit)
	err = m.withAgent(ctx, func(c *agent.Client) (err error) {
		result, err = c.Run(ctx, cmd)
		return err
	})
	return result, err
}

// CopyTo copies the file or directory src of the host to the path dst in the guest,
// which is the name of the copy. Modes, times, links and holes are kept; owners
// are not: the copy belongs to root.
func (m *Machine) CopyTo(ctx context.Context, src, dst string) error {
	return m.withAgent(ctx, func(c *agent.Client) error { return c.CopyTo(ctx, src, dst, agent.CopyOptions{}) })
}

// CopyFrom copies the file or directory src of the guest to the path dst of the
// host, as CopyTo does. It writes nothing outside dst, whatever the guest sends.
func (m *Machine) CopyFrom(ctx context.Context, src, dst string) error {
	return m.withAgent(ctx, func(c *agent.Client) error { return c.CopyFrom(ctx, src, dst, agent.CopyOptions{}) })
}

// ReadFile returns the content of a file in the guest, at most
// agent.MaxReadFile bytes.
func (m *Machine) ReadFile(ctx context.Context, name string) (content []byte, err error) {
	err = m.withAgent(ctx, func(c *agent.Client) (err error) {
		content, err = c.ReadFile(ctx, name)
		return err
	})
	return content, err
}

// WriteFile writes a file in the guest, as os.WriteFile does.
func (m *Machine) WriteFile(ctx context.Context, name string, content []byte, perm os.FileMode) error {
	return m.withAgent(ctx, func(c *agent.Client) error { return c.WriteFile(ctx, name, content, perm) })
}

// Dial connects to an address as the guest sees it, without a network: network
// "tcp" with a host and port, such as "localhost:80", or "unix" with a path.
func (m *Machine) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = m.withAgent(ctx, func(c *agent.Client) error {
		guest, err := c.Dial(ctx, network, address)
		if err == nil {
			conn = guest
		}
		return err
	})
	return conn, err
}

// PowerOff makes the guest stop its services, unmount its file systems and power
// off, and waits until it has.
func (m *Machine) PowerOff(ctx context.Context) error {
	if err := m.withAgent(ctx, func(c *agent.Client) error { return c.PowerOff(ctx) }); err != nil {
		return err
	}
	end, err := m.Wait(ctx)
	if err != nil {
		return fmt.Errorf("the guest did not power off: %w", err)
	}
	if !end.PoweredOff() {
		return fmt.Errorf("%w, want a power-off", m.End().Err())
	}
	return nil
}

// maxTail bounds, in bytes, the output of a command in an error.
const maxTail = 2 << 10

// A Tail is a writer that keeps the last 2 KiB.
type Tail struct {
	b   []byte
	cut bool
}

func (t *Tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b[max(0, len(b)-maxTail):]...)
	if over := len(t.b) - maxTail; over > 0 || len(b) > maxTail {
		t.b, t.cut = append(t.b[:0], t.b[max(0, over):]...), true
	}
	return len(b), nil
}

func (t *Tail) String() string {
	if t.cut {
		return "…" + string(t.b)
	}
	return string(t.b)
}

// Outputs formats the ends of a command's outputs for an error: nothing, or
// lines that each begin with a line break.
func Outputs(stdout, stderr *Tail) string {
	var s string
	for _, output := range []struct {
		name string
		tail *Tail
	}{{"standard output", stdout}, {"standard error", stderr}} {
		if text := output.tail.String(); text != "" {
			s += "\n  " + output.name + ":\n  | " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  | ")
		}
	}
	return s
}
