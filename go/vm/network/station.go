package network

import (
	"encoding/binary"
	"net/netip"
)

// A station is the switch as a member of its own network. It answers ARP, ping,
// DHCP and DNS. Each answer goes to the port that the request came from, so a
// request with a forged sender cannot reach another guest.
type station struct {
	network *Network
	mac     mac
	addr    netip.Addr
}

// EtherTypes and IP protocols.
const (
	typeIPv4     = 0x0800
	typeARP      = 0x0806
	protocolICMP = 1
	protocolUDP  = 17
)

// Ports of UDP.
const (
	portDNS        = 53
	portDHCPServer = 67
	portDHCPClient = 68
)

var (
	anyAddr       = netip.AddrFrom4([4]byte{})
	broadcastAddr = netip.AddrFrom4([4]byte{255, 255, 255, 255})
)

// receive handles a valid frame. It drops frames of other protocols.
func (s *station) receive(from *Port, frame []byte) {
	if answer := s.answer(from, frame); answer != nil {
		s.network.capture(answer)
		from.down.send(answer)
	}
}

// answer returns the frame that answers a frame, or nil.
func (s *station) answer(from *Port, frame []byte) []byte {
	payload := frame[headerSize:]
	switch etherType(frame) {
	case typeARP:
		return s.answerARP(frame, payload)
	case typeIPv4:
		if p, ok := parseIPv4(payload); ok {
			return s.answerIPv4(from, frame, p)
		}
	}
	return nil
}

// answerARP answers a request for the switch's own address (RFC 826).
func (s *station) answerARP(frame, arp []byte) []byte {
	const requestHeader = "\x00\x01\x08\x00\x06\x04\x00\x01" // Ethernet, IPv4, sizes, request
	const size = 28
	if len(arp) < size || string(arp[:8]) != requestHeader || netip.AddrFrom4([4]byte(arp[24:28])) != s.addr {
		return nil
	}
	answer := s.ethernet(source(frame), typeARP, size)
	answer = append(answer, requestHeader[:7]...)
	answer = append(answer, 2) // reply
	answer = append(answer, s.mac[:]...)
	answer = append(answer, s.addr.AsSlice()...)
	answer = append(answer, arp[8:18]...) // the sender becomes the target
	return pad(answer)
}

func (s *station) answerIPv4(from *Port, frame []byte, p packet) []byte {
	switch {
	case p.protocol == protocolICMP && p.to == s.addr:
		return s.answerEcho(frame, p)
	case p.protocol == protocolUDP:
		d, ok := parseUDP(p)
		if !ok {
			return nil
		}
		switch {
		case d.toPort == portDHCPServer && s.network.dhcp && (p.to == s.addr || p.to == broadcastAddr):
			return s.answerDHCP(from, frame, d)
		case d.toPort == portDNS && p.to == s.addr:
			if message := s.network.answerDNS(d.payload); message != nil {
				return s.udp(source(frame), p.from, portDNS, d.fromPort, message)
			}
		}
	}
	return nil
}

// answerEcho answers a ping (RFC 792).
func (s *station) answerEcho(frame []byte, p packet) []byte {
	const echo, size = 8, 8
	if len(p.payload) < size || p.payload[0] != echo || p.payload[1] != 0 || checksum(0, p.payload) != 0 {
		return nil
	}
	answer := s.ipv4(source(frame), p.from, protocolICMP, len(p.payload))
	at := len(answer)
	answer = append(answer, 0, 0, 0, 0) // echo reply, with a checksum to fill in
	answer = append(answer, p.payload[4:]...)
	binary.BigEndian.PutUint16(answer[at+2:], checksum(0, answer[at:]))
	return pad(answer)
}

// ethernet starts a frame from the switch, with room for a payload.
func (s *station) ethernet(to mac, etherType uint16, size int) []byte {
	frame := make([]byte, 0, max(minFrame, headerSize+size))
	frame = append(frame, to[:]...)
	frame = append(frame, s.mac[:]...)
	return binary.BigEndian.AppendUint16(frame, etherType)
}

// ipv4 starts a frame with an IPv4 header (RFC 791) for a payload of that size.
func (s *station) ipv4(to mac, addr netip.Addr, protocol byte, size int) []byte {
	frame := s.ethernet(to, typeIPv4, ipv4HeaderSize+size)
	at := len(frame)
	frame = append(frame, 0x45, 0) // version 4, 5 words of header
	frame = binary.BigEndian.AppendUint16(frame, uint16(ipv4HeaderSize+size))
	frame = append(frame, 0, 0, 0x40, 0, 64, protocol, 0, 0) // do not fragment; 64 hops; checksum below
	frame = append(frame, s.addr.AsSlice()...)
	frame = append(frame, addr.AsSlice()...)
	binary.BigEndian.PutUint16(frame[at+10:], checksum(0, frame[at:]))
	return frame
}

// udp makes a frame with a UDP datagram (RFC 768).
func (s *station) udp(to mac, addr netip.Addr, fromPort, toPort uint16, payload []byte) []byte {
	size := udpHeaderSize + len(payload)
	frame := s.ipv4(to, addr, protocolUDP, size)
	at := len(frame)
	frame = binary.BigEndian.AppendUint16(frame, fromPort)
	frame = binary.BigEndian.AppendUint16(frame, toPort)
	frame = binary.BigEndian.AppendUint16(frame, uint16(size))
	frame = append(frame, 0, 0)
	frame = append(frame, payload...)
	// The pseudo header: both addresses, which stand before the datagram, protocol and size.
	sum := checksum(protocolUDP+uint32(size), frame[at-8:])
	if sum == 0 {
		sum = 0xffff // 0 means that there is none
	}
	binary.BigEndian.PutUint16(frame[at+6:], sum)
	return pad(frame)
}

// pad makes a frame as long as Ethernet requires.
func pad(frame []byte) []byte {
	if short := minFrame - len(frame); short > 0 {
		frame = append(frame, make([]byte, short)...)
	}
	return frame
}
