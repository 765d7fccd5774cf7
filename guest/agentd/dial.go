//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

// flushDelay is how long a closed connection may take to send the bytes written before.
const flushDelay = 2 * time.Second

// addresses returns the addresses to try: those of the name localhost (RFC 6761) without
// the guest's resolver, which may ask a server that does not exist.
func addresses(network, address string) []string {
	host, port, err := net.SplitHostPort(address)
	if network == "unix" || err != nil || !strings.EqualFold(host, "localhost") {
		return []string{address}
	}
	v4, v6 := net.JoinHostPort("127.0.0.1", port), net.JoinHostPort("::1", port)
	switch network {
	case "tcp4":
		return []string{v4}
	case "tcp6":
		return []string{v6}
	}
	return []string{v4, v6}
}

// dialAny connects to the first address that answers. The error is that of the first one.
func dialAny(ctx context.Context, network string, addresses []string) (net.Conn, error) {
	var d net.Dialer
	var first error
	for _, address := range addresses {
		conn, err := d.DialContext(ctx, network, address)
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// dial connects to an address as the guest sees it, and joins the connection with
// the data channel. Each direction ends for itself.
func dial(q *protocol.Request) error {
	var m protocol.Dial
	if err := q.Body(&m); err != nil {
		return err
	}
	switch m.Network {
	case "tcp", "tcp4", "tcp6", "unix":
	default:
		return fmt.Errorf("dial: unknown network %q; use tcp or unix", m.Network)
	}
	conn, err := dialAny(q.Context(), m.Network, addresses(m.Network, m.Address))
	if err != nil {
		return err
	}
	defer conn.Close()
	// The host closes its end: what it wrote before still goes out.
	defer context.AfterFunc(q.Context(), func() {
		conn.SetReadDeadline(time.Unix(1, 0))
		conn.SetWriteDeadline(time.Now().Add(flushDelay))
	})()
	if err := q.Started(0); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		err := copyBytes(conn, q.Reader(protocol.Data))
		if err == nil {
			err = conn.(interface{ CloseWrite() error }).CloseWrite()
		}
		sent <- err
	}()
	w := q.Writer(protocol.Data)
	err = copyBytes(w, conn)
	if err == nil {
		w.Close()
	} else if q.Context().Err() == nil {
		return err
	}
	if sendErr := <-sent; err == nil {
		err = sendErr
	}
	return err
}
