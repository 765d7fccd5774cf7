package network

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

// Constants of DNS messages (RFC 1035, section 4.1).
const (
	dnsHeaderSize = 12
	dnsMaxName    = 255

	dnsResponse      = 1 << 15
	dnsOpcode        = 15 << 11
	dnsAuthoritative = 1 << 10
	dnsWanted        = 1 << 8 // recursion desired
	dnsAvailable     = 1 << 7 // recursion available, which resolvers ask for

	dnsFormatError    = 1
	dnsNameError      = 3
	dnsNotImplemented = 4

	dnsTypeA   = 1
	dnsTypeAny = 255
	dnsClassIN = 1
	dnsTTL     = 60 // in seconds
)

// answerDNS returns the answer to a query for the address of a machine, or nil
// if the message is not a query.
func (n *Network) answerDNS(query []byte) []byte {
	if len(query) < dnsHeaderSize {
		return nil
	}
	flags := binary.BigEndian.Uint16(query[2:])
	if flags&dnsResponse != 0 {
		return nil
	}
	status := dnsResponse | dnsAuthoritative | dnsAvailable | flags&(dnsOpcode|dnsWanted)
	name, question, ok := parseQuestion(query)
	switch {
	case flags&dnsOpcode != 0:
		return dnsAnswer(query, status|dnsNotImplemented, nil, nil)
	case !ok:
		return dnsAnswer(query, status|dnsFormatError, nil, nil)
	}
	addr, ok := n.lookup(name)
	kind := binary.BigEndian.Uint16(question[len(question)-4:])
	class := binary.BigEndian.Uint16(question[len(question)-2:])
	switch {
	case !ok || class != dnsClassIN:
		return dnsAnswer(query, status|dnsNameError, question, nil)
	case kind != dnsTypeA && kind != dnsTypeAny:
		// The name exists: a resolver that asked for an IPv6 address asks on.
		return dnsAnswer(query, status, question, nil)
	}
	return dnsAnswer(query, status, question, addr.AsSlice())
}

// parseQuestion returns the name that a query with one question asks for, and
// the question as it stands there.
func parseQuestion(query []byte) (name string, question []byte, ok bool) {
	if binary.BigEndian.Uint16(query[4:]) != 1 {
		return "", nil, false
	}
	var labels []string
	for at := dnsHeaderSize; ; {
		if at >= len(query) || at-dnsHeaderSize >= dnsMaxName {
			return "", nil, false
		}
		size := int(query[at])
		at++
		if size == 0 {
			if len(query) < at+4 {
				return "", nil, false
			}
			return strings.Join(labels, "."), query[dnsHeaderSize : at+4], true
		}
		// A question does not have pointers: there is no name before it.
		if size > 63 || at+size > len(query) {
			return "", nil, false
		}
		labels = append(labels, string(query[at:at+size]))
		at += size
	}
}

// dnsAnswer makes a response with the question, if it is not nil, and an
// address, if that is not nil.
func dnsAnswer(query []byte, status uint16, question, addr []byte) []byte {
	answer := make([]byte, dnsHeaderSize, dnsHeaderSize+len(question)+16)
	copy(answer, query[:2]) // the ID
	binary.BigEndian.PutUint16(answer[2:], status)
	if question != nil {
		answer[5] = 1
		answer = append(answer, question...)
	}
	if addr != nil {
		answer[7] = 1
		answer = append(answer, 0xc0, dnsHeaderSize, 0, dnsTypeA, 0, dnsClassIN) // the name of the question
		answer = binary.BigEndian.AppendUint32(answer, dnsTTL)
		answer = append(answer, 0, byte(len(addr)))
		answer = append(answer, addr...)
	}
	return answer
}

// lookup finds a machine by its name, with or without the domain.
func (n *Network) lookup(name string) (netip.Addr, bool) {
	name = strings.TrimSuffix(strings.ToLower(name), "."+n.domain)
	n.mu.RLock()
	defer n.mu.RUnlock()
	for _, p := range n.ports {
		if p.name == name {
			return p.addr, true
		}
	}
	return netip.Addr{}, false
}
