package network

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A Port is where one machine is attached to a network. Between the machine
// and the port is a link, which has two directions.
type Port struct {
	network *Network
	name    string
	mac     mac
	addr    netip.Addr

	conn  net.Conn // the switch's end of the socketpair
	guest *os.File // QEMU's end
	up    *wire    // from the guest
	down  *wire    // to the guest

	received, invalid atomic.Uint64
	configured        atomic.Bool
	learned           int // addresses in the network's table; guarded by network.mu

	closing   sync.Once
	closed    chan struct{}
	goroutine sync.WaitGroup
}

func newPort(n *Network, name string, address mac, addr netip.Addr) (*Port, error) {
	ours, guest, err := socketpair()
	if err != nil {
		return nil, fmt.Errorf("make a socketpair: %w", err)
	}
	conn, err := net.FileConn(ours)
	ours.Close() // FileConn has its own descriptor
	if err != nil {
		guest.Close()
		return nil, err
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, errors.Join(err, conn.Close(), guest.Close())
	}
	p := &Port{network: n, name: name, mac: address, addr: addr, conn: conn, guest: guest, closed: make(chan struct{})}
	p.up = newWire(name+" up", func(frame []byte) { n.forward(p, frame) })
	p.up.direct = true
	// A guest that is gone loses its frames.
	p.down = newWire(name+" down", func(frame []byte) { conn.Write(frame) })
	p.down.try = func(frame []byte) bool { return tryWrite(raw, frame) }
	return p, nil
}

func (p *Port) start() {
	p.goroutine.Add(3)
	for _, run := range []func(){
		p.receive,
		func() { p.up.run(p.closed) },
		func() { p.down.run(p.closed) },
	} {
		go func() {
			defer p.goroutine.Done()
			run()
		}()
	}
}

// receive reads the frames that the guest sends.
func (p *Port) receive() {
	buffer := make([]byte, p.network.maxFrame+1) // a larger frame is cut off, so its size shows
	for {
		n, err := p.conn.Read(buffer)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// QEMU ended; another may be started on the port. Do not spin meanwhile.
			select {
			case <-p.closed:
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		if frame := buffer[:n]; p.network.valid(frame) {
			p.up.send(bytes.Clone(frame))
		} else {
			p.invalid.Add(1)
		}
		p.received.Add(1) // last: frames that are counted are on their way
	}
}

// Name returns the host name of the machine.
func (p *Port) Name() string { return p.name }

// MAC returns the address for the machine's network card. It is derived from
// the names of the network and of the machine, and is locally administered.
func (p *Port) MAC() net.HardwareAddr { return bytes.Clone(p.mac[:]) }

// Addr returns the machine's IPv4 address.
func (p *Port) Addr() netip.Addr { return p.addr }

// Prefix returns the machine's IPv4 address with the length of its subnet, as
// in 10.77.0.2/24: the form that `ip address add` takes.
func (p *Port) Prefix() netip.Prefix { return netip.PrefixFrom(p.addr, p.network.prefix.Bits()) }

// Configured reports whether the guest has asked for an address by DHCP, or has sent
// something from the port's address.
func (p *Port) Configured() bool { return p.configured.Load() }

// watch sets configured.
func (p *Port) watch(frame []byte) {
	if p.configured.Load() {
		return
	}
	payload := frame[headerSize:]
	switch etherType(frame) {
	case typeARP:
		const sender = 14
		if len(payload) < sender+4 || netip.AddrFrom4([4]byte(payload[sender:])) != p.addr {
			return
		}
	case typeIPv4:
		packet, ok := parseIPv4(payload)
		if !ok || packet.from != p.addr && !packet.isDHCPRequest() {
			return
		}
	default:
		return
	}
	p.configured.Store(true)
}

// File returns the descriptor for QEMU's -netdev dgram. The port owns it: Close
// closes it. While the port is open, a QEMU that ended can be followed by
// another with the same descriptor.
func (p *Port) File() *os.File { return p.guest }

// Stats are counts of frames since the port was attached.
type Stats struct {
	FromGuest uint64 // frames that the guest sent
	ToGuest   uint64 // frames handed to the guest
	Invalid   uint64 // of FromGuest: too short, too large, or with a sender that is not the guest's
	Lost      uint64 // frames of both directions that faults or a cut link lost
	Dropped   uint64 // frames of both directions that found a full queue
}

// Stats returns the counts up to now.
func (p *Port) Stats() Stats {
	upLost, upDropped, _ := p.up.counts()
	downLost, downDropped, delivered := p.down.counts()
	return Stats{
		FromGuest: p.received.Load(),
		ToGuest:   delivered,
		Invalid:   p.invalid.Load(),
		Lost:      upLost + downLost,
		Dropped:   upDropped + downDropped,
	}
}

// Close removes the port from its network and closes the descriptor. It
// returns when nothing of the port is left, and does nothing the second time.
func (p *Port) Close() {
	p.closing.Do(func() {
		p.network.detach(p)
		close(p.closed)
		p.conn.Close()
		p.guest.Close()
	})
	p.goroutine.Wait()
}
