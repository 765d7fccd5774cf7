package network_test

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/network"
)

// Saved machines and users' configuration contain these addresses.
func TestAddressesAreStable(t *testing.T) {
	n := newNetwork(t)
	web, db := attach(t, n, "web"), attach(t, n, "DB")
	for _, c := range []struct {
		port *network.Port
		want string
	}{
		{web.port, "web 1a:e7:2a:fb:9d:8e 10.77.0.2 10.77.0.2/24"},
		{db.port, "db 32:8c:07:8f:bf:ad 10.77.0.3 10.77.0.3/24"},
	} {
		if got := fmt.Sprint(c.port.Name(), " ", c.port.MAC(), " ", c.port.Addr(), " ", c.port.Prefix()); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
	// A name keeps its address when its machine comes back.
	mac := web.port.MAC().String()
	web.port.Close()
	other := attach(t, n, "other")
	again := attach(t, n, "web")
	if again.port.Addr() != web.port.Addr() || again.port.MAC().String() != mac || other.port.Addr() == web.port.Addr() {
		t.Errorf("the machine comes back with %v and %v", again.port.MAC(), again.port.Addr())
	}
	again.send(db.port.MAC(), "end")
	db.want()
	fixed := attach(t, n, "fixed", network.WithAddr(netip.MustParseAddr("10.77.0.99")))
	fixed.port.Close()
	if got := attach(t, n, "fixed").port.Addr(); got != fixed.port.Addr() {
		t.Errorf("the machine comes back with %v, want %v", got, fixed.port.Addr())
	}
	if got := attach(t, newNetwork(t, network.WithName("lan")), "web").port.MAC().String(); got == mac {
		t.Errorf("the machine has the address %v in two networks", got)
	}
}

func TestAttachErrors(t *testing.T) {
	n := newNetwork(t, network.WithPrefix(netip.MustParsePrefix("10.1.2.0/29")))
	attach(t, n, "a")
	attach(t, n, "b", network.WithAddr(netip.MustParseAddr("10.1.2.6")))
	for _, c := range []struct{ name, addr, want string }{
		{"A", "", `attach machine "A": the name is in use; give each machine of a network its own`},
		{"", "", `attach machine "": the name must be 1 to 63 letters, digits and hyphens, as a host name`},
		{"a.b", "", `attach machine "a.b": the name must be 1 to 63 letters, digits and hyphens, as a host name`},
		{"-a", "", `attach machine "-a": the name must be 1 to 63 letters, digits and hyphens, as a host name`},
		{"c", "10.1.2.6", `attach machine "c": address 10.1.2.6 belongs to b`},
		{"c", "10.1.2.1", `attach machine "c": address 10.1.2.1 belongs to the switch`},
		{"c", "10.1.2.0", `attach machine "c": address 10.1.2.0 must be a host address of 10.1.2.0/29`},
		{"c", "10.1.2.7", `attach machine "c": address 10.1.2.7 must be a host address of 10.1.2.0/29`},
		{"c", "10.1.2.8", `attach machine "c": address 10.1.2.8 must be a host address of 10.1.2.0/29`},
		{"c", "::1", `attach machine "c": address ::1 must be a host address of 10.1.2.0/29`},
	} {
		var opts []network.PortOption
		if c.addr != "" {
			opts = append(opts, network.WithAddr(netip.MustParseAddr(c.addr)))
		}
		if _, err := n.Attach(c.name, opts...); fmt.Sprint(err) != "network: "+c.want {
			t.Errorf("got the error %v, want network: %s", err, c.want)
		}
	}
	attach(t, n, "c")
	attach(t, n, "d")
	attach(t, n, "e")
	const full = `network: attach machine "f": subnet 10.1.2.0/29 has no free address; make it larger`
	if _, err := n.Attach("f"); fmt.Sprint(err) != full {
		t.Errorf("got the error %v, want %s", err, full)
	}
	n.Close()
	if _, err := n.Attach("g"); !errors.Is(err, network.ErrClosed) {
		t.Errorf("got the error %v, want %v", err, network.ErrClosed)
	}
}

func TestOptionErrors(t *testing.T) {
	for _, c := range []struct {
		option network.Option
		want   string
	}{
		{network.WithPrefix(netip.MustParsePrefix("fd00::/64")), "prefix fd00::/64 must be an IPv4 subnet of 8 to 30 bits, as in 10.77.0.0/24"},
		{network.WithPrefix(netip.MustParsePrefix("10.0.0.0/31")), "prefix 10.0.0.0/31 must be an IPv4 subnet of 8 to 30 bits, as in 10.77.0.0/24"},
		{network.WithDomain("a..b"), `domain "a..b" must be labels of letters, digits and hyphens, joined by dots`},
		{network.WithDomain(""), `domain "" must be labels of letters, digits and hyphens, joined by dots`},
		{network.WithDomain(strings.Repeat("a.", 100) + "a"), `domain "a.a.a.a.a.a.a.a.a.a."… is 201 bytes long, must be at most 180`},
		{network.WithMTU(9001), "MTU 9001 must be from 576 to 9000"},
		{network.WithMTU(575), "MTU 575 must be from 576 to 9000"},
	} {
		if _, err := network.New(c.option); fmt.Sprint(err) != "network: "+c.want {
			t.Errorf("got the error %v, want network: %s", err, c.want)
		}
	}
}

// descriptors returns how many descriptors this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// Close leaves nothing, whatever the guests do.
func TestClose(t *testing.T) {
	goroutines, files := runtime.NumGoroutine(), descriptors(t)
	var ports []*network.Port // or the garbage collector would close their files
	for range 20 {
		n, err := network.New()
		if err != nil {
			t.Fatal(err)
		}
		a, b, stopped := attach(t, n, "a"), attach(t, n, "b"), attach(t, n, "stopped")
		ports = append(ports, a.port, b.port, stopped.port)
		n.Capture(io.Discard)
		setFaults(t, b, network.Faults{Delay: time.Hour})
		for range 1000 {
			a.send(broadcast, strings.Repeat("x", 1000))
		}
		for _, g := range []*guest{a, b, stopped} {
			g.conn.Close()
		}
		b.port.Close()
		b.port.Close()
		if err := errors.Join(n.Close(), n.Close()); err != nil {
			t.Fatal(err)
		}
	}
	// A goroutine that was waited for may still be about to return.
	for wait := time.Millisecond; runtime.NumGoroutine() > goroutines && wait < time.Minute; wait *= 2 {
		time.Sleep(wait)
	}
	if now := runtime.NumGoroutine(); now > goroutines {
		t.Errorf("%d goroutines are left of %d", now-goroutines, now)
	}
	if now := descriptors(t); now > files {
		t.Errorf("%d descriptors are left", now-files)
	}
	runtime.KeepAlive(ports)
}

// Everything at the same time, for the race detector.
func TestConcurrentUse(t *testing.T) {
	n := newNetwork(t)
	a, b := attach(t, n, "a"), attach(t, n, "b")
	var wait sync.WaitGroup
	for name, do := range map[string]func(i int){
		"send": func(i int) { a.send(b.port.MAC(), "x"); a.send(broadcast, "x"); a.dhcp(dhcpRequest(1, a.port.MAC())) },
		"faults": func(i int) {
			b.port.SetFaults(network.Faults{Loss: 0.1, Delay: time.Duration(i%3) * time.Millisecond, Seed: uint64(i)})
			b.port.Stats()
		},
		"cut":     func(int) { b.port.Cut(); n.Cut(a.port, b.port); b.port.Mend(); n.Mend(a.port, b.port) },
		"capture": func(int) { n.Capture(io.Discard).Close() },
		"attach": func(int) {
			p, err := n.Attach("c")
			if err != nil {
				t.Error(err)
				return
			}
			n.Cut(p, a.port)
			p.Close()
		},
	} {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for i := range 200 {
				do(i)
			}
			t.Log(name, "is done")
		}()
	}
	wait.Wait()
	b.port.Mend()
	n.Mend(a.port, b.port)
	setFaults(t, b, network.Faults{})
	a.send(b.port.MAC(), "end")
	b.texts()
}
