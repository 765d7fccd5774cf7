package network

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// leaseTime is how long a guest may use its address before it asks again.
const leaseTime = 24 * time.Hour

// Offsets in a DHCP message (RFC 2131, section 2).
const (
	dhcpXid       = 4
	dhcpFlags     = 10
	dhcpCiaddr    = 12
	dhcpYiaddr    = 16
	dhcpGiaddr    = 24
	dhcpChaddr    = 28
	dhcpMagic     = 236
	dhcpOptions   = 240
	dhcpMinAnswer = 300 // what BOOTP clients expect
)

const dhcpCookie = "\x63\x82\x53\x63"

// Message types (RFC 2132, section 9.6).
const (
	dhcpDiscover = 1
	dhcpOffer    = 2
	dhcpRequest  = 3
	dhcpAck      = 5
	dhcpNak      = 6
	dhcpInform   = 8
)

// Options (RFC 2132).
const (
	optionPad         = 0
	optionMask        = 1
	optionDNS         = 6
	optionHostName    = 12
	optionDomain      = 15
	optionMTU         = 26
	optionBroadcast   = 28
	optionRequested   = 50
	optionLeaseTime   = 51
	optionMessageType = 53
	optionServer      = 54
	optionEnd         = 255
)

// A dhcpMessage is a client's request.
type dhcpMessage struct {
	header    []byte // up to the options
	kind      byte
	ciaddr    netip.Addr // the address that the client uses
	requested netip.Addr // the address that it asks for; zero Addr if it does not
	server    netip.Addr // the server it asks; zero Addr if any
}

// parseDHCP understands requests of Ethernet clients that no relay forwarded.
func parseDHCP(b []byte) (dhcpMessage, bool) {
	if len(b) < dhcpOptions || string(b[:3]) != "\x01\x01\x06" || string(b[dhcpMagic:dhcpOptions]) != dhcpCookie {
		return dhcpMessage{}, false
	}
	if string(b[dhcpGiaddr:dhcpChaddr]) != "\x00\x00\x00\x00" {
		return dhcpMessage{}, false
	}
	m := dhcpMessage{header: b[:dhcpOptions], ciaddr: netip.AddrFrom4([4]byte(b[dhcpCiaddr:dhcpYiaddr]))}
	for rest := b[dhcpOptions:]; len(rest) > 0 && rest[0] != optionEnd; {
		if rest[0] == optionPad {
			rest = rest[1:]
			continue
		}
		if len(rest) < 2 || len(rest) < 2+int(rest[1]) {
			return dhcpMessage{}, false
		}
		option, value := rest[0], rest[2:2+int(rest[1])]
		rest = rest[2+len(value):]
		switch {
		case option == optionMessageType && len(value) == 1:
			m.kind = value[0]
		case option == optionRequested && len(value) == 4:
			m.requested = netip.AddrFrom4([4]byte(value))
		case option == optionServer && len(value) == 4:
			m.server = netip.AddrFrom4([4]byte(value))
		}
	}
	return m, m.kind != 0
}

// answerDHCP leases to each port its own address, whatever hardware address or
// identifier the client claims. So there is nothing that a guest could take
// away from another.
func (s *station) answerDHCP(from *Port, frame []byte, d datagram) []byte {
	m, ok := parseDHCP(d.payload)
	if !ok || m.server.IsValid() && m.server != s.addr {
		return nil
	}
	var kind byte
	switch m.kind {
	case dhcpDiscover:
		kind = dhcpOffer
	case dhcpInform:
		kind = dhcpAck
	case dhcpRequest:
		wanted := m.requested
		if !wanted.IsValid() {
			wanted = m.ciaddr
		}
		kind = dhcpAck
		if wanted != from.addr {
			kind = dhcpNak
		}
	default: // nothing to do for decline and release: the address is the port's
		return nil
	}

	message := s.dhcpAnswer(from, m, kind)
	toMAC, to := source(frame), from.addr
	switch { // RFC 2131, section 4.1
	case kind == dhcpNak:
		toMAC, to = broadcastMAC, broadcastAddr
	case m.ciaddr != anyAddr:
		to = m.ciaddr
	case m.header[dhcpFlags]&0x80 != 0:
		toMAC, to = broadcastMAC, broadcastAddr
	}
	return s.udp(toMAC, to, portDHCPServer, portDHCPClient, message)
}

// dhcpAnswer makes the message (RFC 2131, table 3).
func (s *station) dhcpAnswer(to *Port, m dhcpMessage, kind byte) []byte {
	answer := make([]byte, dhcpOptions, 512)
	copy(answer, "\x02\x01\x06") // a reply by Ethernet
	copy(answer[dhcpXid:], m.header[dhcpXid:dhcpXid+4])
	copy(answer[dhcpFlags:], m.header[dhcpFlags:dhcpFlags+2])
	copy(answer[dhcpChaddr:], m.header[dhcpChaddr:dhcpChaddr+16])
	copy(answer[dhcpMagic:], dhcpCookie)
	option := func(code byte, value ...byte) {
		answer = append(answer, code, byte(len(value)))
		answer = append(answer, value...)
	}
	number := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

	option(optionMessageType, kind)
	option(optionServer, s.addr.AsSlice()...)
	if kind != dhcpNak {
		if kind == dhcpAck {
			copy(answer[dhcpCiaddr:], m.ciaddr.AsSlice())
		}
		if m.kind != dhcpInform {
			copy(answer[dhcpYiaddr:], to.addr.AsSlice())
			option(optionLeaseTime, number(uint32(leaseTime/time.Second))...)
		}
		option(optionMask, number(mask(s.network.prefix))...)
		option(optionBroadcast, s.network.broadcast().AsSlice()...)
		option(optionDNS, s.addr.AsSlice()...)
		option(optionHostName, []byte(to.name)...)
		option(optionDomain, []byte(s.network.domain)...)
		if mtu := s.network.maxFrame - headerSize - vlanTagSize; mtu != DefaultMTU {
			option(optionMTU, byte(mtu>>8), byte(mtu))
		}
	}
	answer = append(answer, optionEnd)
	if short := dhcpMinAnswer - len(answer); short > 0 {
		answer = append(answer, make([]byte, short)...)
	}
	return answer
}
