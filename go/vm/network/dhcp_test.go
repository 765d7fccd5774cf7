package network_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/vm/network"
)

var (
	anyClient  = netip.MustParseAddrPort("0.0.0.0:68")
	allServers = netip.MustParseAddrPort("255.255.255.255:67")
)

// dhcpRequest returns a message with options behind its type.
func dhcpRequest(kind byte, chaddr net.HardwareAddr, options ...byte) []byte {
	m := make([]byte, 240)
	copy(m, "\x01\x01\x06\x00XID!")
	copy(m[28:], chaddr)
	copy(m[236:], "\x63\x82\x53\x63")
	return append(append(append(m, 53, 1, kind), options...), 255)
}

func (g *guest) dhcp(message []byte) {
	g.t.Helper()
	g.sendFrame(ethernet(broadcast, g.port.MAC(), 0x0800, udp(anyClient, allServers, message)))
}

// A lease is an answer of the DHCP server.
type lease struct {
	to      string // the addresses of the frame and of the packet
	yiaddr  netip.Addr
	options map[byte]string
}

func (g *guest) lease() lease {
	g.t.Helper()
	frame := g.receive()
	from, to, m := checkUDP(g.t, frame)
	if from.Port() != 67 || to.Port() != 68 || len(m) < 300 || m[0] != 2 || string(m[4:8]) != "XID!" {
		g.t.Fatalf("from %v to %v: %x is not an answer", from, to, m)
	}
	l := lease{fmt.Sprint(net.HardwareAddr(frame[:6]), " ", to.Addr()), netip.AddrFrom4([4]byte(m[16:])), map[byte]string{}}
	for rest := m[240:]; rest[0] != 255; rest = rest[2+rest[1]:] {
		l.options[rest[0]] = string(rest[2 : 2+rest[1]])
	}
	return l
}

func TestDHCP(t *testing.T) {
	n := newNetwork(t, network.WithPrefix(netip.MustParsePrefix("192.168.5.77/20")), network.WithDomain("lab.test"), network.WithMTU(9000))
	a := attach(t, n, "a", network.WithAddr(netip.MustParseAddr("192.168.7.7")))
	a.dhcp(dhcpRequest(1, a.port.MAC()))
	want := map[byte]string{
		53: "\x02",
		54: "\xc0\xa8\x00\x01",
		51: "\x00\x01\x51\x80",
		1:  "\xff\xff\xf0\x00",
		28: "\xc0\xa8\x0f\xff",
		6:  "\xc0\xa8\x00\x01",
		12: "a",
		15: "lab.test",
		26: "\x23\x28",
	}
	got := a.lease()
	if fmt.Sprint(got.options) != fmt.Sprint(want) || got.yiaddr != a.port.Addr() {
		t.Errorf("the switch offers %v with %q, want %v with %q", got.yiaddr, got.options, a.port.Addr(), want)
	}
	if want := a.port.MAC().String() + " 192.168.7.7"; got.to != want {
		t.Errorf("the offer goes to %v, want %v", got.to, want)
	}
	if want := netip.MustParsePrefix("192.168.7.7/20"); a.port.Prefix() != want {
		t.Errorf("the port has %v, want %v", a.port.Prefix(), want)
	}
	// A client that asks for a broadcast gets one.
	m := dhcpRequest(1, a.port.MAC())
	m[10] = 0x80
	a.dhcp(m)
	if got, want := a.lease().to, "ff:ff:ff:ff:ff:ff 255.255.255.255"; got != want {
		t.Errorf("the offer goes to %v, want %v", got, want)
	}
}

// The address is the port's. Nothing that a guest claims changes it, or takes
// the address of another.
func TestDHCPRequests(t *testing.T) {
	n := newNetwork(t)
	a, b := attach(t, n, "a"), attach(t, n, "b")
	mine, theirs, server := a.port.Addr().AsSlice(), b.port.Addr().AsSlice(), n.Addr().AsSlice()
	option := func(code byte, value []byte) []byte { return append([]byte{code, byte(len(value))}, value...) }
	renewal := dhcpRequest(3, a.port.MAC())
	copy(renewal[12:], mine)
	stolen := dhcpRequest(3, a.port.MAC())
	copy(stolen[12:], theirs)
	relayed := dhcpRequest(1, a.port.MAC())
	copy(relayed[24:], theirs)
	inform := dhcpRequest(8, a.port.MAC())
	copy(inform[12:], mine)
	const offer, ack, nak, nothing = 2, 5, 6, 0
	for _, c := range []struct {
		name    string
		message []byte
		want    byte
	}{
		{"discover", dhcpRequest(1, a.port.MAC()), offer},
		{"discover with the hardware address of b", dhcpRequest(1, b.port.MAC()), offer},
		{"discover the address of b", dhcpRequest(1, a.port.MAC(), option(50, theirs)...), offer},
		{"request", dhcpRequest(3, a.port.MAC(), append(option(50, mine), option(54, server)...)...), ack},
		{"request after a reboot", dhcpRequest(3, a.port.MAC(), option(50, mine)...), ack},
		{"renew", renewal, ack},
		{"request the address of b", dhcpRequest(3, a.port.MAC(), option(50, theirs)...), nak},
		{"request the address of b as b", dhcpRequest(3, b.port.MAC(), option(50, theirs)...), nak},
		{"renew the address of b", stolen, nak},
		{"request of another server", dhcpRequest(3, a.port.MAC(), append(option(50, mine), option(54, theirs)...)...), nothing},
		{"inform", inform, ack},
		{"decline", dhcpRequest(4, a.port.MAC(), option(50, theirs)...), nothing},
		{"release", dhcpRequest(7, a.port.MAC()), nothing},
		{"release as b", dhcpRequest(7, b.port.MAC()), nothing},
		{"an answer", append([]byte{2}, dhcpRequest(1, a.port.MAC())[1:]...), nothing},
		{"from a relay", relayed, nothing},
		{"an option that is cut off", append(dhcpRequest(1, a.port.MAC(), 50), 4), nothing},
		{"no type", dhcpRequest(0, a.port.MAC()), nothing},
		{"too short", dhcpRequest(1, a.port.MAC())[:239], nothing},
	} {
		a.dhcp(c.message)
		a.dhcp(dhcpRequest(1, a.port.MAC(), 50, 4, 1, 2, 3, 4)) // ends the wait for nothing
		got := a.lease()
		if c.want == nothing {
			if got.options[53] != "\x02" {
				t.Errorf("%s: got an answer of type %x, want none", c.name, got.options[53])
			}
			continue
		}
		if got.options[53] != string(c.want) || c.want != nak && c.name != "inform" && got.yiaddr != a.port.Addr() {
			t.Errorf("%s: got an answer of type %x with %v, want %d with %v", c.name, got.options[53], got.yiaddr, c.want, a.port.Addr())
		}
		a.lease()
	}
	a.silent()
	// What b received are the broadcasts of a, and no answer.
	b.dhcp(dhcpRequest(1, b.port.MAC()))
	for {
		frame := b.receive()
		if binary.BigEndian.Uint16(frame[34:]) == 67 {
			if _, _, m := checkUDP(t, frame); netip.AddrFrom4([4]byte(m[16:])) != b.port.Addr() {
				t.Errorf("b received the lease %x", m)
			}
			break
		}
	}
}

func TestWithoutDHCP(t *testing.T) {
	n := newNetwork(t, network.WithoutDHCP())
	a := attach(t, n, "a")
	a.dhcp(dhcpRequest(1, a.port.MAC()))
	a.sendFrame(arpRequest(n, a))
	if got := a.receive(); got[12] != 8 || got[13] != 6 {
		t.Errorf("the switch answers %x, want only ARP", got)
	}
}
