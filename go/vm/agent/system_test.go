package agent_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
)

// Setting the clock, entropy and power-off need a guest: e2e/boot/agent.

func TestInfo(t *testing.T) {
	ctx, c := connect(t)
	info := c.Info()
	want := strings.TrimSpace(shell(t, "/", "uname -m; uname -r; uname -n; basename \"$(readlink /proc/1/exe)\"; cat /proc/sys/kernel/random/boot_id"))
	if got := strings.Join([]string{info.Arch, info.Kernel, info.Hostname, info.PID1, info.BootID}, "\n"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if id := strings.TrimSpace(shell(t, "/", ". /etc/os-release; echo $ID")); info.OSID != id || info.Initrd {
		t.Errorf("got %+v, want OSID %s", info, id)
	}
	if now, err := c.QueryInfo(ctx); err != nil || now != info {
		t.Errorf("QueryInfo: got %+v, %v; want %+v", now, err, info)
	}
}

func TestClock(t *testing.T) {
	ctx, c := connect(t)
	before := time.Now()
	now, err := c.Clock(ctx)
	if err != nil || now.Before(before) || now.After(time.Now()) {
		t.Errorf("got %v, %v", now, err)
	}
}

func TestDial(t *testing.T) {
	ctx, c := connect(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	}))
	defer server.Close()
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		return c.Dial(ctx, network, address)
	}}
	defer transport.CloseIdleConnections()
	body := strings.Repeat("0123456789", 100_000)
	response, err := (&http.Client{Transport: transport}).Post(server.URL, "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got, err := io.ReadAll(response.Body); err != nil || string(got) != body {
		t.Errorf("got %d bytes, %v; want %d", len(got), err, len(body))
	}
	if _, err := c.Dial(ctx, "tcp", "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nothing listens: %v", err)
	}
	if _, err := c.Dial(ctx, "udp", "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), `unknown network "udp"`) {
		t.Errorf("udp: %v", err)
	}
}

// listen accepts one connection on a Unix socket.
func listen(t *testing.T) (path string, accepted chan *net.UnixConn) {
	t.Helper()
	path = t.TempDir() + "/socket"
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	accepted = make(chan *net.UnixConn, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			accepted <- conn.(*net.UnixConn)
		}
	}()
	return path, accepted
}

func TestConn(t *testing.T) {
	noLeaks(t)
	conn, guest := pair(t)
	startAgent(t, guest)
	ctx, c := connectTo(t, conn)
	defer c.Close()

	path, accepted := listen(t)
	here, err := c.Dial(ctx, "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	there := <-accepted
	// Half of the connection ends, the other half stays.
	io.WriteString(here, "question")
	if err := here.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(there); err != nil || string(got) != "question" {
		t.Errorf("got %q, %v", got, err)
	}
	here.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := here.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
	here.SetReadDeadline(time.Time{})
	io.WriteString(there, "answer")
	there.Close()
	if got, err := io.ReadAll(here); err != nil || string(got) != "answer" {
		t.Errorf("got %q, %v", got, err)
	}
	here.Close()
	if err := here.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}

	// What was written before Close arrives.
	path, accepted = listen(t)
	if here, err = c.Dial(ctx, "unix", path); err != nil {
		t.Fatal(err)
	}
	there = <-accepted
	sent := strings.Repeat("x", 200_000)
	io.WriteString(here, sent)
	here.Close()
	if got, err := io.ReadAll(there); err != nil || string(got) != sent {
		t.Errorf("got %d bytes, %v; want %d", len(got), err, len(sent))
	}
	there.Close()

	// A write that nobody takes ends at its deadline.
	path, accepted = listen(t)
	if here, err = c.Dial(ctx, "unix", path); err != nil {
		t.Fatal(err)
	}
	there = <-accepted
	here.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := io.Copy(here, zeros{}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
	here.Close()
	there.Close()

	// The context of Dial does not outlive it.
	path, accepted = listen(t)
	short, cancel := context.WithCancel(ctx)
	if here, err = c.Dial(short, "unix", path); err != nil {
		t.Fatal(err)
	}
	cancel()
	there = <-accepted
	io.WriteString(there, "still open")
	there.Close()
	if got, err := io.ReadAll(here); err != nil || string(got) != "still open" {
		t.Errorf("got %q, %v", got, err)
	}
	here.Close()
}

var _ net.Conn = (*agent.Conn)(nil)
