//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

// flushDelay is how long a closed connection may take to send the bytes written before.
const flushDelay = 2 * time.Second

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
	var d net.Dialer
	conn, err := d.DialContext(q.Context(), m.Network, m.Address)
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
