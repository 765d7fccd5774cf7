// Package network connects QEMU machines by Ethernet within one host process.
// It needs no root, bridge, tap device or host network.
//
// A Network is a switch. Attach adds a Port for each machine. A port has a MAC
// address, an IPv4 address and a host name, and the descriptor that QEMU (7.2
// or newer) sends and receives Ethernet frames by:
//
//	n, err := network.New()
//	port, err := n.Attach("web")
//	cmd := exec.Command("qemu-system-x86_64", …,
//		"-netdev", "dgram,id=net0,local.type=fd,local.str=3",
//		"-device", "virtio-net-pci,netdev=net0,mac="+port.MAC().String())
//	cmd.ExtraFiles = []*os.File{port.File()} // descriptor 3
//
// The switch has an address of its own. There it answers ARP, ping, DHCP and
// DNS. A guest gets its address by DHCP, or sets Port.Prefix statically.
//
// Port.SetFaults, Port.Cut and Network.Cut make a network lose and delay
// frames. Network.Capture writes the frames to a pcap file.
//
// Guests are not trusted: a guest that sends garbage, floods the network or
// stops receiving can neither block other guests nor grow the memory of the
// host process.
package network

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"
)

// A Network is an Ethernet switch with any number of ports. Its methods may be
// called concurrently.
type Network struct {
	name     string
	prefix   netip.Prefix
	domain   string
	maxFrame int // in bytes
	dhcp     bool
	station  station

	mu        sync.RWMutex
	closed    bool
	ports     []*Port
	addresses map[string]netip.Addr // by name, also of ports that are closed
	table     map[mac]*Port         // who sends from which address
	cut       map[pair]bool
	captures  []*Capture
}

// Defaults and limits of the options.
const (
	DefaultName   = "network"
	DefaultPrefix = "10.77.0.0/24"
	DefaultDomain = "test" // reserved for tests by RFC 6761
	DefaultMTU    = 1500
	MinMTU        = 576
	MaxMTU        = 9000
)

// An Option is a parameter of New.
type Option func(*Network) error

// WithName names the network. MAC addresses depend on it. The default is
// DefaultName.
func WithName(name string) Option {
	return func(n *Network) error {
		n.name = name
		return nil
	}
}

// WithPrefix sets the IPv4 subnet. The switch has its first address, machines
// have the others. It must have between 8 and 30 bits. The default is
// DefaultPrefix.
func WithPrefix(prefix netip.Prefix) Option {
	return func(n *Network) error {
		if !prefix.Addr().Is4() || prefix.Bits() < 8 || prefix.Bits() > 30 {
			return fmt.Errorf("prefix %v must be an IPv4 subnet of 8 to 30 bits, as in %s", prefix, DefaultPrefix)
		}
		n.prefix = prefix.Masked()
		return nil
	}
}

// WithDomain sets the domain that DHCP announces and that DNS answers for, as
// in "example.test". The default is DefaultDomain.
func WithDomain(domain string) Option {
	return func(n *Network) error {
		for label := range strings.SplitSeq(domain, ".") {
			if !isLabel(label) {
				return fmt.Errorf("domain %q must be labels of letters, digits and hyphens, joined by dots", domain)
			}
		}
		if len(domain) > 180 { // a name of 255 bytes has room for a machine's 63
			return fmt.Errorf("domain %.20q… is %d bytes long, must be at most 180", domain, len(domain))
		}
		n.domain = strings.ToLower(domain)
		return nil
	}
}

// WithMTU sets the largest payload of a frame in bytes, from MinMTU to MaxMTU.
// The switch drops frames that are larger. DHCP announces an MTU other than
// DefaultMTU.
func WithMTU(mtu int) Option {
	return func(n *Network) error {
		if mtu < MinMTU || mtu > MaxMTU {
			return fmt.Errorf("MTU %d must be from %d to %d", mtu, MinMTU, MaxMTU)
		}
		n.maxFrame = mtu + headerSize + vlanTagSize
		return nil
	}
}

// WithoutDHCP turns the DHCP server off, for guests that run one and for
// guests with static addresses.
func WithoutDHCP() Option {
	return func(n *Network) error {
		n.dhcp = false
		return nil
	}
}

// New makes a network without ports. Close ends it.
func New(opts ...Option) (*Network, error) {
	n := &Network{
		name:      DefaultName,
		prefix:    netip.MustParsePrefix(DefaultPrefix),
		domain:    DefaultDomain,
		maxFrame:  DefaultMTU + headerSize + vlanTagSize,
		dhcp:      true,
		addresses: make(map[string]netip.Addr),
		table:     make(map[mac]*Port),
		cut:       make(map[pair]bool),
	}
	for _, o := range opts {
		if err := o(n); err != nil {
			return nil, fmt.Errorf("network: %w", err)
		}
	}
	n.station = station{network: n, mac: n.deriveMAC(""), addr: n.prefix.Addr().Next()}
	return n, nil
}

// Copy makes a network like n, without ports and captures: machines that are
// attached to it under the names that they have on n get the same addresses.
func (n *Network) Copy() *Network {
	n.mu.RLock()
	defer n.mu.RUnlock()
	c := &Network{
		name:      n.name,
		prefix:    n.prefix,
		domain:    n.domain,
		maxFrame:  n.maxFrame,
		dhcp:      n.dhcp,
		addresses: maps.Clone(n.addresses),
		table:     make(map[mac]*Port),
		cut:       make(map[pair]bool),
	}
	c.station = station{network: c, mac: n.station.mac, addr: n.station.addr}
	return c
}

// Addr returns the address of the switch: its DHCP and DNS server.
func (n *Network) Addr() netip.Addr { return n.station.addr }

// Domain returns the domain of the machines' names.
func (n *Network) Domain() string { return n.domain }

// ErrClosed is returned by methods of a network that is closed.
var ErrClosed = errors.New("network: the network is closed")

// A PortOption is a parameter of Attach.
type PortOption func(*portParams)

type portParams struct{ addr netip.Addr }

// WithAddr sets the address of the port. The default is the lowest address of
// the subnet that no name has, so it depends on the order of attaching.
func WithAddr(addr netip.Addr) PortOption {
	return func(p *portParams) { p.addr = addr }
}

// Attach adds a port for the machine of that name, which is also its host name:
// letters, digits and hyphens, at most 63. A name that was attached before, and
// whose port is closed, gets the same addresses again.
func (n *Network) Attach(name string, opts ...PortOption) (*Port, error) {
	var params portParams
	for _, o := range opts {
		o(&params)
	}
	p, err := n.attach(strings.ToLower(name), params)
	if err != nil {
		return nil, fmt.Errorf("network: attach machine %.80q: %w", name, err)
	}
	return p, nil
}

func (n *Network) attach(name string, params portParams) (*Port, error) {
	if !isLabel(name) {
		return nil, errors.New("the name must be 1 to 63 letters, digits and hyphens, as a host name")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, ErrClosed
	}
	for _, p := range n.ports {
		if p.name == name {
			return nil, errors.New("the name is in use; give each machine of a network its own")
		}
	}
	address := n.deriveMAC(name)
	before := n.table[address] // who claims the address already
	if before != nil && before.mac == address || address == n.station.mac {
		return nil, fmt.Errorf("the MAC address %v derived from the name is in use; choose another name", address)
	}
	addr, err := n.address(name, params.addr)
	if err != nil {
		return nil, err
	}
	p, err := newPort(n, name, address, addr)
	if err != nil {
		return nil, err
	}
	if before != nil {
		before.learned--
	}
	n.addresses[name] = addr
	n.ports = append(n.ports, p)
	n.table[address] = p
	p.start()
	return p, nil
}

// address returns the address for a name: wanted, unless that is the zero
// Addr, the one that the name had before, or the lowest free one.
func (n *Network) address(name string, wanted netip.Addr) (netip.Addr, error) {
	taken := map[netip.Addr]string{n.station.addr: "the switch"}
	for other, addr := range n.addresses {
		if other != name {
			taken[addr] = other
		}
	}
	broadcast := n.broadcast()
	if wanted.IsValid() {
		if !n.prefix.Contains(wanted) || wanted == n.prefix.Addr() || wanted == broadcast {
			return wanted, fmt.Errorf("address %v must be a host address of %v", wanted, n.prefix)
		}
		if by, ok := taken[wanted]; ok {
			return wanted, fmt.Errorf("address %v belongs to %s", wanted, by)
		}
		return wanted, nil
	}
	if addr, ok := n.addresses[name]; ok {
		return addr, nil
	}
	for addr := n.station.addr.Next(); addr != broadcast; addr = addr.Next() {
		if _, ok := taken[addr]; !ok {
			return addr, nil
		}
	}
	return wanted, fmt.Errorf("subnet %v has no free address; make it larger", n.prefix)
}

// broadcast returns the last address of the subnet.
func (n *Network) broadcast() netip.Addr {
	bytes := n.prefix.Addr().As4()
	binary.BigEndian.PutUint32(bytes[:], binary.BigEndian.Uint32(bytes[:])|^mask(n.prefix))
	return netip.AddrFrom4(bytes)
}

func mask(p netip.Prefix) uint32 { return ^uint32(0) << (32 - p.Bits()) }

// deriveMAC returns a unicast, locally administered address for a machine's
// name, or the switch's for "".
func (n *Network) deriveMAC(name string) mac {
	sum := sha256.Sum256([]byte(n.name + "\x00" + name))
	address := mac(sum[:6])
	address[0] = address[0]&^1 | 2
	return address
}

// Close ends the network: it closes all ports and captures, and waits until
// their goroutines have ended. It returns the errors of captures.
func (n *Network) Close() error {
	n.mu.Lock()
	n.closed = true
	ports, captures := n.ports, n.captures
	n.ports, n.captures = nil, nil
	n.mu.Unlock()
	for _, p := range ports {
		p.Close()
	}
	var errs []error
	for _, c := range captures {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// isLabel tells whether s is one label of a host name (RFC 1123).
func isLabel(s string) bool {
	if len(s) < 1 || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}
