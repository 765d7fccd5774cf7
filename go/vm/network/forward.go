package network

import (
	"encoding/binary"
	"net"
	"slices"
)

// Sizes in bytes of an Ethernet frame as QEMU passes it: without preamble and
// without checksum.
const (
	headerSize  = 14
	vlanTagSize = 4
	minFrame    = 60
)

// maxLearned is how many sender addresses the switch remembers for a port,
// besides the port's own. Frames to others go to all ports.
const maxLearned = 256

type mac [6]byte

var broadcastMAC = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func (m mac) String() string    { return net.HardwareAddr(m[:]).String() }
func (m mac) isMulticast() bool { return m[0]&1 != 0 }

func destination(frame []byte) mac { return mac(frame[0:6]) }
func source(frame []byte) mac      { return mac(frame[6:12]) }
func etherType(frame []byte) int   { return int(binary.BigEndian.Uint16(frame[12:14])) }

// valid tells whether a switch forwards such a frame at all.
func (n *Network) valid(frame []byte) bool {
	if len(frame) < headerSize || len(frame) > n.maxFrame {
		return false
	}
	from := source(frame)
	return !from.isMulticast() && from != mac{}
}

// forward takes a frame from a port and hands it to the ports it is for. It
// never waits for a guest.
func (n *Network) forward(from *Port, frame []byte) {
	if !n.learn(from, source(frame)) {
		from.invalid.Add(1)
		return
	}
	n.capture(frame)
	from.watch(frame)
	to := destination(frame)
	if to != n.station.mac {
		n.mu.RLock()
		if p := n.table[to]; p != nil && !to.isMulticast() {
			n.send(from, p, frame)
		} else {
			for _, p := range n.ports {
				n.send(from, p, frame)
			}
		}
		n.mu.RUnlock()
	}
	if to == n.station.mac || to.isMulticast() {
		n.station.receive(from, frame)
	}
}

// send hands a frame to a port, unless it came from there or the two are cut.
// The caller holds mu.
func (n *Network) send(from, to *Port, frame []byte) {
	if from != to && !(len(n.cut) > 0 && n.cut[pairOf(from, to)]) {
		to.down.send(frame)
	}
}

// learn remembers that an address is behind a port. It returns false if the
// address belongs to another port or to the switch: then the frame is forged.
func (n *Network) learn(from *Port, address mac) bool {
	n.mu.RLock()
	known := n.table[address]
	n.mu.RUnlock()
	if known == from {
		return true
	}
	if address == n.station.mac || known != nil && known.mac == address {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	known = n.table[address] // may have changed
	if known != nil && known.mac == address {
		return known == from
	}
	// A detached port must not come back into the table.
	if from.learned >= maxLearned || !slices.Contains(n.ports, from) {
		return true
	}
	if known != nil {
		known.learned--
	}
	from.learned++
	n.table[address] = from
	return true
}

// detach forgets a port.
func (n *Network) detach(p *Port) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports = slices.DeleteFunc(slices.Clone(n.ports), func(other *Port) bool { return other == p })
	for address, port := range n.table {
		if port == p {
			delete(n.table, address)
		}
	}
	for cut := range n.cut {
		if cut.a == p || cut.b == p {
			delete(n.cut, cut)
		}
	}
}

// A pair is two ports in a fixed order.
type pair struct{ a, b *Port }

func pairOf(a, b *Port) pair {
	if a.addr.Compare(b.addr) > 0 {
		a, b = b, a
	}
	return pair{a, b}
}

// Cut separates two ports: frames between them are lost, in both directions.
// Both still reach all others and the switch. Mend ends it.
func (n *Network) Cut(a, b *Port) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if slices.Contains(n.ports, a) && slices.Contains(n.ports, b) {
		n.cut[pairOf(a, b)] = true
	}
}

// Mend joins two ports that Cut separated.
func (n *Network) Mend(a, b *Port) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cut, pairOf(a, b))
}
