package network_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/vm/network"
)

func arpRequest(n *network.Network, g *guest) []byte {
	arp := []byte{0, 1, 8, 0, 6, 4, 0, 1}
	arp = append(append(arp, g.port.MAC()...), g.port.Addr().AsSlice()...)
	arp = append(append(arp, 0, 0, 0, 0, 0, 0), n.Addr().AsSlice()...)
	return ethernet(broadcast, g.port.MAC(), 0x0806, arp)
}

func TestARP(t *testing.T) {
	n := newNetwork(t)
	a := attach(t, n, "a")
	a.sendFrame(arpRequest(n, a))
	got := a.receive()
	want := []byte{0, 1, 8, 0, 6, 4, 0, 2}
	want = append(append(want, got[6:12]...), n.Addr().AsSlice()...)
	want = append(append(want, a.port.MAC()...), a.port.Addr().AsSlice()...)
	want = append(want, make([]byte, 18)...) // up to 60 bytes
	if want = ethernet(a.port.MAC(), got[6:12], 0x0806, want); !bytes.Equal(got, want) {
		t.Errorf("the switch answers %x, want %x", got, want)
	}
	for _, other := range []int{14, 16, 18, 20, 21, 41} { // types, sizes, operation, address
		request := arpRequest(n, a)
		request[other+1-other%2]++
		a.sendFrame(request)
	}
	a.sendFrame(arpRequest(n, a)[:41])
	a.sendFrame(arpRequest(n, a))
	if got := a.receive(); !bytes.Equal(got, want) {
		t.Errorf("the switch answers %x, want %x", got, want)
	}
	a.silent()
}

func TestConfigured(t *testing.T) {
	for name, configure := range map[string]func(n *network.Network, g *guest) []byte{
		"ARP": arpRequest,
		"DHCP": func(_ *network.Network, g *guest) []byte {
			return ethernet(broadcast, g.port.MAC(), 0x0800, udp(anyClient, allServers, dhcpRequest(1, g.port.MAC())))
		},
		"UDP": func(n *network.Network, g *guest) []byte {
			from, to := netip.AddrPortFrom(g.port.Addr(), 1000), netip.AddrPortFrom(n.Addr(), 1000)
			return ethernet(broadcast, g.port.MAC(), 0x0800, udp(from, to, []byte("text")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(t)
			a, other := attach(t, n, "a"), attach(t, n, "other")
			// What a kernel without addresses sends, and a sender that is another's.
			from := netip.AddrPortFrom(other.port.Addr(), 1000)
			for _, frame := range [][]byte{
				ethernet(broadcast, a.port.MAC(), 0x86dd, make([]byte, 40)),
				ethernet(broadcast, a.port.MAC(), 0x0800, udp(from, from, []byte("text"))),
				ethernet(broadcast, a.port.MAC(), 0x0806, make([]byte, 28)),
			} {
				a.sendFrame(frame)
				other.receive()
			}
			if a.port.Configured() {
				t.Error("the guest is configured before it sent anything from its address")
			}
			a.sendFrame(configure(n, a))
			other.receive()
			if !a.port.Configured() || other.port.Configured() {
				t.Errorf("configured: %v, the other %v; want true, false", a.port.Configured(), other.port.Configured())
			}
		})
	}
}

func TestPing(t *testing.T) {
	n := newNetwork(t)
	a := attach(t, n, "a")
	a.sendFrame(arpRequest(n, a))
	switchMAC := net.HardwareAddr(a.receive()[6:12])
	for _, size := range []int{0, 1, 56, 1472} {
		echo := append([]byte{8, 0, 0, 0, 0x12, 0x34, 0, 1}, bytes.Repeat([]byte{0xa5}, size)...)
		binary.BigEndian.PutUint16(echo[2:], sum(echo))
		a.sendFrame(ethernet(switchMAC, a.port.MAC(), 0x0800, ipv4(a.port.Addr(), n.Addr(), 1, echo)))
		got := a.receive()[14:]
		got = got[:binary.BigEndian.Uint16(got[2:])]
		if sum(got[:20]) != 0 || sum(got[20:]) != 0 || got[20] != 0 || !bytes.Equal(got[24:], echo[4:]) ||
			netip.AddrFrom4([4]byte(got[12:])) != n.Addr() || netip.AddrFrom4([4]byte(got[16:])) != a.port.Addr() {
			t.Errorf("%d bytes: the switch answers %x", size, got)
		}
	}
}

// Packets that are damaged, or not for the switch, get no answer.
func TestDamagedPackets(t *testing.T) {
	n := newNetwork(t)
	a := attach(t, n, "a")
	a.sendFrame(arpRequest(n, a))
	switchMAC := net.HardwareAddr(a.receive()[6:12])
	echo := []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}
	query := []byte("id\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x04test\x00\x00\x01\x00\x01")
	from, to := netip.AddrPortFrom(a.port.Addr(), 4000), netip.AddrPortFrom(n.Addr(), 53)
	for _, c := range []struct {
		name   string
		packet []byte
		at     int // the byte to change
		by     byte
	}{
		{"version", ipv4(from.Addr(), to.Addr(), 1, echo), 0, 0x10},
		{"short header", ipv4(from.Addr(), to.Addr(), 1, echo), 0, 0xff}, // 4 words
		{"long header", ipv4(from.Addr(), to.Addr(), 1, echo), 0, 10},
		{"total length", ipv4(from.Addr(), to.Addr(), 1, echo), 2, 5},
		{"more fragments", ipv4(from.Addr(), to.Addr(), 1, echo), 6, 0x20},
		{"fragment", ipv4(from.Addr(), to.Addr(), 1, echo), 7, 1},
		{"address", ipv4(from.Addr(), to.Addr(), 1, echo), 19, 1},
		{"protocol", ipv4(from.Addr(), to.Addr(), 1, echo), 9, 5},
		{"echo type", ipv4(from.Addr(), to.Addr(), 1, echo), 20, 5},
		{"echo checksum", ipv4(from.Addr(), to.Addr(), 1, echo), 22, 1},
		{"echo without header", ipv4(from.Addr(), to.Addr(), 1, echo[:7]), 0, 0},
		{"datagram without header", ipv4(from.Addr(), to.Addr(), 17, echo[:7]), 0, 0},
		{"datagram length", udp(from, to, query), 24, 5},
		{"port", udp(from, to, query), 23, 1},
		{"half a query", udp(from, to, query[:11]), 0, 0},
	} {
		c.packet[c.at] += c.by
		header := c.packet[:min(int(c.packet[0]&15)*4, len(c.packet))]
		header[10], header[11] = 0, 0
		binary.BigEndian.PutUint16(header[10:], sum(header))
		a.sendFrame(ethernet(switchMAC, a.port.MAC(), 0x0800, c.packet))
		a.sendFrame(arpRequest(n, a))
		if got := a.receive(); got[12] != 8 || got[13] != 6 {
			t.Errorf("%s: the switch answers %x, want nothing", c.name, got)
			a.receive()
		}
	}
	packet := ipv4(from.Addr(), to.Addr(), 1, echo)
	packet[10]++ // the checksum of the header
	a.sendFrame(ethernet(switchMAC, a.port.MAC(), 0x0800, packet))
	a.sendFrame(ethernet(switchMAC, a.port.MAC(), 0x0800, packet[:19]))
	a.sendFrame(arpRequest(n, a))
	if got := a.receive(); got[12] != 8 || got[13] != 6 {
		t.Errorf("the switch answers %x, want nothing", got)
	}
	a.silent()
}

// A wire is a connection to the DNS server of the switch, as a stream.
type wire struct {
	net.Conn
	g      *guest
	to     net.HardwareAddr
	n      *network.Network
	answer io.Reader
}

func (w *wire) Write(b []byte) (int, error) {
	from, to := netip.AddrPortFrom(w.g.port.Addr(), 4000), netip.AddrPortFrom(w.n.Addr(), 53)
	w.g.sendFrame(ethernet(w.to, w.g.port.MAC(), 0x0800, udp(from, to, b[2:]))) // without the length
	gotFrom, gotTo, payload := checkUDP(w.g.t, w.g.receive())
	if gotFrom != to || gotTo != from {
		w.g.t.Errorf("the answer goes from %v to %v, want %v to %v", gotFrom, gotTo, to, from)
	}
	w.answer = bytes.NewReader(append(binary.BigEndian.AppendUint16(nil, uint16(len(payload))), payload...))
	return len(b), nil
}

func (w *wire) Read(b []byte) (int, error) { return w.answer.Read(b) }
func (w *wire) Close() error               { return nil }

// Go's resolver judges the answers.
func TestNames(t *testing.T) {
	n := newNetwork(t, network.WithDomain("Example.test"))
	a, web := attach(t, n, "a"), attach(t, n, "web-1")
	a.sendFrame(arpRequest(n, a))
	switchMAC := net.HardwareAddr(a.receive()[6:12])
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return &wire{Conn: a.conn, g: a, to: switchMAC, n: n}, nil
	}}
	lookup := func(network, name string) ([]netip.Addr, error) {
		return resolver.LookupNetIP(context.Background(), network, name)
	}
	for _, name := range []string{"web-1.example.test.", "WEB-1.Example.TEST.", "web-1."} {
		got, err := lookup("ip4", name)
		if err != nil || len(got) != 1 || got[0] != web.port.Addr() {
			t.Errorf("%s has the addresses %v, %v; want %v", name, got, err, web.port.Addr())
		}
		// Resolvers take NXDOMAIN for one type as an answer for all.
		var dns *net.DNSError
		if got, err := lookup("ip6", name); !errors.As(err, &dns) || !dns.IsNotFound {
			t.Errorf("%s has the IPv6 addresses %v, %v; want none", name, got, err)
		}
	}
	long := strings.Repeat(strings.Repeat("x", 62)+".", 4)
	for _, name := range []string{"other.example.test.", "web-1.test.", "example.com.", long} {
		var dns *net.DNSError
		if got, err := lookup("ip4", name); !errors.As(err, &dns) || !dns.IsNotFound || dns.IsTemporary {
			t.Errorf("%s has the addresses %v, %v; want that it is not found", name, got, err)
		}
	}
	web.port.Close()
	if got, err := lookup("ip4", "web-1.example.test."); err == nil {
		t.Errorf("a machine that is gone has the addresses %v", got)
	}
}

// What Go's resolver does not ask.
func TestDNSMessages(t *testing.T) {
	n := newNetwork(t)
	a := attach(t, n, "a")
	a.sendFrame(arpRequest(n, a))
	switchMAC := net.HardwareAddr(a.receive()[6:12])
	from, to := netip.AddrPortFrom(a.port.Addr(), 4000), netip.AddrPortFrom(n.Addr(), 53)
	const question = "\x01a\x04test\x00"
	for name, c := range map[string]struct{ query, want string }{
		"address":       {"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + question + "\x00\x01\x00\x01", "\x85\x80\x00\x01\x00\x01\x00\x00\x00\x00" + question + "\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x4d\x00\x02"},
		"IPv6":          {"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + question + "\x00\x1c\x00\x01", "\x85\x80\x00\x01\x00\x00\x00\x00\x00\x00" + question + "\x00\x1c\x00\x01"},
		"another class": {"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + question + "\x00\x01\x00\x03", "\x85\x83\x00\x01\x00\x00\x00\x00\x00\x00" + question + "\x00\x01\x00\x03"},
		"status query":  {"\x10\x00\x00\x01\x00\x00\x00\x00\x00\x00" + question + "\x00\x01\x00\x01", "\x94\x84\x00\x00\x00\x00\x00\x00\x00\x00"},
		"no question":   {"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00", "\x85\x81\x00\x00\x00\x00\x00\x00\x00\x00"},
		"two questions": {"\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00" + question + "\x00\x01\x00\x01" + question + "\x00\x01\x00\x01", "\x85\x81\x00\x00\x00\x00\x00\x00\x00\x00"},
		"a pointer":     {"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01", "\x85\x81\x00\x00\x00\x00\x00\x00\x00\x00"},
		"a long label":  {"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x3fa", "\x85\x81\x00\x00\x00\x00\x00\x00\x00\x00"},
		"cut off":       {"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x04tes", "\x85\x81\x00\x00\x00\x00\x00\x00\x00\x00"},
	} {
		a.sendFrame(ethernet(switchMAC, a.port.MAC(), 0x0800, udp(from, to, []byte("id\x81\x00\x00\x00\x00\x00\x00\x00\x00\x00")))) // not a query
		a.sendFrame(ethernet(switchMAC, a.port.MAC(), 0x0800, udp(from, to, []byte("id"+c.query))))
		if _, _, got := checkUDP(t, a.receive()); string(got) != "id"+c.want {
			t.Errorf("%s: the switch answers %q, want %q", name, got, "id"+c.want)
		}
	}
	a.silent()
}
