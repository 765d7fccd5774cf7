package vm

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"
)

// Forward returns an address of the host, as in "127.0.0.1:34567", that leads to a TCP
// port of the guest's 127.0.0.1, by the agent and without a network. It ends with the
// machine.
func (m *Machine) Forward(ctx context.Context, port int) (string, error) {
	if _, err := m.Agent(ctx); err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	life, end := context.WithCancel(context.Background())
	go func() {
		<-m.done
		end()
		listener.Close()
	}()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go m.forward(life, conn.(*net.TCPConn), port)
		}
	}()
	return listener.Addr().String(), nil
}

// forward connects a connection of the host to a port of the guest, until both directions
// have ended. If the guest refuses, the connection is closed.
func (m *Machine) forward(ctx context.Context, conn *net.TCPConn, port int) {
	defer conn.Close()
	client, err := m.Agent(ctx)
	if err != nil {
		return
	}
	guest, err := client.Dial(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return
	}
	defer guest.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var directions sync.WaitGroup
	directions.Add(2)
	go func() {
		defer directions.Done()
		io.Copy(guest, conn)
		guest.CloseWrite()
	}()
	go func() {
		defer directions.Done()
		io.Copy(conn, guest)
		conn.CloseWrite()
	}()
	directions.Wait()
}
