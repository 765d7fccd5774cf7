package network_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/network"
)

// typeTest is the EtherType of frames that only the tests understand.
const typeTest = 0x88b5

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// A guest sends and receives raw frames as QEMU does.
type guest struct {
	t    testing.TB
	port *network.Port
	conn net.Conn
}

func newNetwork(t testing.TB, opts ...network.Option) *network.Network {
	t.Helper()
	n, err := network.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func attach(t testing.TB, n *network.Network, name string, opts ...network.PortOption) *guest {
	t.Helper()
	port, err := n.Attach(name, opts...)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.FileConn(port.File())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &guest{t, port, conn}
}

// ethernet returns a frame with its payload.
func ethernet(to, from net.HardwareAddr, etherType uint16, payload []byte) []byte {
	frame := append(append([]byte{}, to...), from...)
	return append(binary.BigEndian.AppendUint16(frame, etherType), payload...)
}

func (g *guest) sendFrame(frame []byte) {
	g.t.Helper()
	if _, err := g.conn.Write(frame); err != nil {
		g.t.Fatal(err)
	}
}

// send sends a text to an address.
func (g *guest) send(to net.HardwareAddr, text string) {
	g.t.Helper()
	g.sendFrame(ethernet(to, g.port.MAC(), typeTest, []byte(text)))
}

// receive returns the next frame.
func (g *guest) receive() []byte {
	g.t.Helper()
	g.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	buffer := make([]byte, 65536)
	n, err := g.conn.Read(buffer)
	if err != nil {
		g.t.Fatalf("%s waits for a frame: %v", g.port.Name(), err)
	}
	return buffer[:n]
}

// texts receives texts until "end", which it leaves out.
func (g *guest) texts() []string {
	g.t.Helper()
	texts := []string{}
	for {
		text := string(g.receive()[14:])
		if text == "end" {
			return texts
		}
		texts = append(texts, text)
	}
}

// want checks that the guest receives these texts, and nothing else up to "end".
func (g *guest) want(texts ...string) {
	g.t.Helper()
	if got := g.texts(); fmt.Sprint(got) != fmt.Sprint(texts) {
		g.t.Errorf("%s received %.200q, want %.200q", g.port.Name(), got, texts)
	}
}

// silent checks that no frame waits for the guest. A frame that was sent must
// have had its time to arrive.
func (g *guest) silent() {
	g.t.Helper()
	g.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	buffer := make([]byte, 65536)
	if n, err := g.conn.Read(buffer); !errors.Is(err, os.ErrDeadlineExceeded) {
		g.t.Errorf("%s received %x, %v; want nothing", g.port.Name(), buffer[:n], err)
	}
}

// sum returns the Internet checksum of some bytes, by the text of RFC 1071.
func sum(parts ...[]byte) uint16 {
	all := bytes.Join(parts, nil)
	if len(all)%2 != 0 {
		all = append(all, 0)
	}
	var total uint64
	for i := 0; i < len(all); i += 2 {
		total += uint64(binary.BigEndian.Uint16(all[i:]))
	}
	for total > 0xffff {
		total = total&0xffff + total>>16
	}
	return ^uint16(total)
}

// ipv4 returns a packet.
func ipv4(from, to netip.Addr, protocol byte, payload []byte) []byte {
	header := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0}
	binary.BigEndian.PutUint16(header[2:], uint16(20+len(payload)))
	header = append(append(header, from.AsSlice()...), to.AsSlice()...)
	binary.BigEndian.PutUint16(header[10:], sum(header))
	return append(header, payload...)
}

// udp returns a packet with a datagram without a checksum.
func udp(from, to netip.AddrPort, payload []byte) []byte {
	datagram := binary.BigEndian.AppendUint16(nil, from.Port())
	datagram = binary.BigEndian.AppendUint16(datagram, to.Port())
	datagram = binary.BigEndian.AppendUint16(datagram, uint16(8+len(payload)))
	datagram = append(datagram, 0, 0)
	return ipv4(from.Addr(), to.Addr(), 17, append(datagram, payload...))
}

// checkUDP checks the lengths and checksums of a frame from the switch, and
// returns its addresses and payload.
func checkUDP(t testing.TB, frame []byte) (from, to netip.AddrPort, payload []byte) {
	t.Helper()
	p := frame[14:]
	if len(frame) < 60 || p[0] != 0x45 || p[9] != 17 || sum(p[:20]) != 0 {
		t.Fatalf("the switch sent %x, want a frame of at least 60 bytes with a UDP packet", frame)
	}
	p = p[:binary.BigEndian.Uint16(p[2:])]
	datagram := p[20:]
	if int(binary.BigEndian.Uint16(datagram[4:])) != len(datagram) ||
		sum(p[12:20], []byte{0, 17}, datagram[4:6], datagram) != 0 {
		t.Fatalf("length or checksum of the datagram %x is wrong", datagram)
	}
	from = netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[12:])), binary.BigEndian.Uint16(datagram))
	to = netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[16:])), binary.BigEndian.Uint16(datagram[2:]))
	return from, to, datagram[8:]
}
