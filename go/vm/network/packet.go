package network

import (
	"encoding/binary"
	"net/netip"
)

// Sizes of headers without options, in bytes.
const (
	ipv4HeaderSize = 20
	udpHeaderSize  = 8
)

// A packet is an IPv4 packet that is not a fragment.
type packet struct {
	from, to netip.Addr
	protocol byte
	payload  []byte
}

// parseIPv4 returns the packet at the start of b, which may be padded.
func parseIPv4(b []byte) (packet, bool) {
	if len(b) < ipv4HeaderSize || b[0]>>4 != 4 {
		return packet{}, false
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < ipv4HeaderSize || total < header || total > len(b) || checksum(0, b[:header]) != 0 {
		return packet{}, false
	}
	if binary.BigEndian.Uint16(b[6:])&0x3fff != 0 { // more fragments, or not the first
		return packet{}, false
	}
	return packet{
		from:     netip.AddrFrom4([4]byte(b[12:16])),
		to:       netip.AddrFrom4([4]byte(b[16:20])),
		protocol: b[9],
		payload:  b[header:total],
	}, true
}

// A datagram is the content of a UDP packet.
type datagram struct {
	fromPort, toPort uint16
	payload          []byte
}

func parseUDP(p packet) (datagram, bool) {
	b := p.payload
	if len(b) < udpHeaderSize {
		return datagram{}, false
	}
	size := int(binary.BigEndian.Uint16(b[4:]))
	if size < udpHeaderSize || size > len(b) {
		return datagram{}, false
	}
	return datagram{
		fromPort: binary.BigEndian.Uint16(b),
		toPort:   binary.BigEndian.Uint16(b[2:]),
		payload:  b[udpHeaderSize:size],
	}, true
}

// isDHCPRequest reports whether a packet is from a client to servers.
func (p packet) isDHCPRequest() bool {
	if p.protocol != protocolUDP {
		return false
	}
	d, ok := parseUDP(p)
	return ok && d.toPort == portDHCPServer
}

// checksum returns the Internet checksum (RFC 1071) of b and of a sum to start
// with. Over data with a right checksum it is 0.
func checksum(sum uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) > 0 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
