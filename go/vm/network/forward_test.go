package network_test

import (
	"bytes"
	"crypto/rand"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/network"
)

func TestForward(t *testing.T) {
	n := newNetwork(t)
	a, b, c := attach(t, n, "a"), attach(t, n, "b"), attach(t, n, "c")
	behindB := net.HardwareAddr{2, 0, 0, 0, 0, 9} // a container of b, say

	a.send(broadcast, "to all")
	a.send(net.HardwareAddr{1, 0, 0x5e, 0, 0, 1}, "to a group")
	a.send(b.port.MAC(), "to b")
	a.send(a.port.MAC(), "to itself")
	a.send(behindB, "to an unknown address")
	a.send(broadcast, "end")
	b.want("to all", "to a group", "to b", "to an unknown address")
	c.want("to all", "to a group", "to an unknown address")

	b.sendFrame(ethernet(broadcast, behindB, typeTest, []byte("end")))
	a.want() // nothing of its own
	c.want()
	a.send(behindB, "to a learned address")
	a.send(broadcast, "end")
	b.want("to a learned address")
	c.want()

	// The address moves.
	c.sendFrame(ethernet(broadcast, behindB, typeTest, []byte("end")))
	a.want()
	b.want()
	a.send(behindB, "to an address that moved")
	a.send(broadcast, "end")
	b.want()
	c.want("to an address that moved")
}

// A guest can neither take the addresses of others nor make the switch forget them.
func TestForgedSender(t *testing.T) {
	n := newNetwork(t)
	a := attach(t, n, "a")
	a.sendFrame(arpRequest(n, a))
	switchMAC := net.HardwareAddr(a.receive()[6:12])
	b, c := attach(t, n, "b"), attach(t, n, "c")

	c.sendFrame(ethernet(broadcast, b.port.MAC(), typeTest, []byte("as b")))
	c.sendFrame(ethernet(broadcast, switchMAC, typeTest, []byte("as the switch")))
	// More addresses than the switch learns from a port.
	random := make(net.HardwareAddr, 6)
	for range 1000 {
		rand.Read(random)
		random[0] = 2
		c.sendFrame(ethernet(a.port.MAC(), random, typeTest, []byte("flood")))
		a.receive()
	}
	c.send(broadcast, "end")
	a.want()
	b.want()
	a.send(random, "to an address that was not learned")
	a.send(broadcast, "end")
	b.want("to an address that was not learned")
	c.want("to an address that was not learned")
	a.send(b.port.MAC(), "to b")
	a.send(broadcast, "end")
	b.want("to b")
	c.want()
	if got := c.port.Stats().Invalid; got != 2 {
		t.Errorf("the port counts %d invalid frames, want the 2 forged ones", got)
	}
	a.sendFrame(arpRequest(n, a))
	if got := net.HardwareAddr(a.receive()[6:12]); !bytes.Equal(got, switchMAC) {
		t.Errorf("the switch answers from %v, want %v", got, switchMAC)
	}
}

func TestInvalidFrames(t *testing.T) {
	for _, mtu := range []int{network.MinMTU, network.DefaultMTU, network.MaxMTU} {
		n := newNetwork(t, network.WithMTU(mtu))
		a, b := attach(t, n, "a"), attach(t, n, "b")
		frame := func(from net.HardwareAddr, size int) []byte {
			return ethernet(broadcast, from, typeTest, make([]byte, size))
		}
		a.sendFrame(nil)
		a.sendFrame(frame(a.port.MAC(), 0)[:13])
		a.sendFrame(frame(a.port.MAC(), mtu+5))
		a.sendFrame(frame(a.port.MAC(), 20000))
		a.sendFrame(frame(broadcast, 50))
		a.sendFrame(frame(make(net.HardwareAddr, 6), 50))
		a.sendFrame(frame(a.port.MAC(), 0))
		a.sendFrame(frame(a.port.MAC(), mtu+4)) // with a VLAN tag
		a.send(broadcast, "end")
		b.want("", strings.Repeat("\x00", mtu+4))
		for a.port.Stats().FromGuest < 9 { // which follows the frame
			time.Sleep(time.Millisecond)
		}
		if got := a.port.Stats(); got.Invalid != 6 || got.FromGuest != 9 {
			t.Errorf("MTU %d: the port counts %+v, want 6 invalid frames of 9", mtu, got)
		}
	}
}

// A guest that stopped loses frames, and nothing else happens.
func TestStoppedGuest(t *testing.T) {
	n := newNetwork(t)
	a, stopped, c := attach(t, n, "a"), attach(t, n, "stopped"), attach(t, n, "c")
	const sent = 5000
	for range sent {
		a.send(stopped.port.MAC(), strings.Repeat("x", 1000))
	}
	a.send(c.port.MAC(), "to c")
	a.send(c.port.MAC(), "end")
	c.want("to c")
	dropped := stopped.port.Stats().Dropped
	// One MiB in the switch's queue, the rest in the socket.
	if dropped < sent/2 || dropped >= sent {
		t.Errorf("the port dropped %d of %d frames, want most", dropped, sent)
	}
	for range sent - int(dropped) {
		stopped.receive()
	}
	a.send(stopped.port.MAC(), "it continues")
	a.send(stopped.port.MAC(), "end")
	stopped.want("it continues")
}

func TestCut(t *testing.T) {
	n := newNetwork(t)
	a, b, c := attach(t, n, "a"), attach(t, n, "b"), attach(t, n, "c")

	b.port.Cut()
	a.send(broadcast, "while b is cut")
	b.send(broadcast, "from b while it is cut")
	a.send(c.port.MAC(), "end")
	c.want("while b is cut")
	for b.port.Stats().Lost < 2 { // b's frame has its own way to the switch
		time.Sleep(time.Millisecond)
	}
	b.port.Mend()
	a.send(broadcast, "end")
	b.want()
	c.want()
	b.send(broadcast, "end")
	a.want()
	c.want()

	n.Cut(b.port, a.port)
	a.send(broadcast, "from a")
	a.send(b.port.MAC(), "from a")
	a.send(c.port.MAC(), "end")
	c.want("from a")
	b.send(broadcast, "from b")
	b.send(a.port.MAC(), "from b")
	b.send(c.port.MAC(), "end")
	c.want("from b")
	b.sendFrame(arpRequest(n, b))
	b.receive() // the switch itself answers
	n.Mend(a.port, b.port)
	a.send(b.port.MAC(), "end")
	b.want()
	b.send(a.port.MAC(), "end")
	a.want()
}
