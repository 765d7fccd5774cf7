package network_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/vm/network"
)

// FuzzFrames sends any frame to the switch. It must answer at most once, with a
// frame that is valid and not much larger than the question, and only to the
// sender.
func FuzzFrames(f *testing.F) {
	n := newNetwork(f)
	a, b := attach(f, n, "a"), attach(f, n, "b")
	a.sendFrame(arpRequest(n, a))
	b.receive()
	toSwitch := a.receive()[6:12]
	client, server := netip.AddrPortFrom(a.port.Addr(), 4000), netip.AddrPortFrom(n.Addr(), 53)
	query := []byte("id\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01b\x04test\x00\x00\x01\x00\x01")
	f.Add(arpRequest(n, a)[12:])
	f.Add(ethernet(nil, nil, 0x0800, udp(client, server, query)))
	f.Add(ethernet(nil, nil, 0x0800, udp(anyClient, allServers, dhcpRequest(1, a.port.MAC()))))
	f.Add(ethernet(nil, nil, 0x0800, udp(anyClient, allServers, dhcpRequest(3, a.port.MAC(), 50, 4, 10, 77, 0, 2, 54, 4, 10, 77, 0, 1))))
	f.Add(ethernet(nil, nil, 0x0800, ipv4(a.port.Addr(), n.Addr(), 1, []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0})))
	end := ethernet(b.port.MAC(), a.port.MAC(), typeTest, []byte("end"))
	f.Fuzz(func(t *testing.T, content []byte) {
		fix(content)
		a, b := &guest{t, a.port, a.conn}, &guest{t, b.port, b.conn}
		frame := append(append(bytes.Clone(toSwitch), a.port.MAC()...), content...)
		a.sendFrame(frame)
		a.sendFrame(end)
		if got := b.receive(); !bytes.Equal(got, end) {
			t.Fatalf("b received %x", got)
		}
		a.sendFrame(arpRequest(n, a))
		b.receive()
		for answers := 0; ; answers++ {
			got := a.receive()
			if !bytes.Equal(got[:6], a.port.MAC()) && !bytes.Equal(got[:6], broadcast) || !bytes.Equal(got[6:12], toSwitch) {
				t.Fatalf("the answer has the wrong addresses: %x", got)
			}
			if binary.BigEndian.Uint16(got[12:]) == 0x0806 && bytes.HasSuffix(got[:42], a.port.Addr().AsSlice()) {
				break // which ends the wait
			}
			if answers > 0 || len(got) < 60 || len(got) > max(len(frame)+32, 640) {
				t.Fatalf("answer %d to %x is %x", answers+1, frame, got)
			}
			if got[12] == 8 && got[13] == 0 && got[23] == 17 {
				checkUDP(t, got)
			}
		}
	})
}

// fix sets the checksum of an IPv4 header, which a fuzzer would hardly find.
func fix(content []byte) {
	if len(content) >= 22 && content[0] == 8 && content[1] == 0 {
		if end := 2 + int(content[2]&15)*4; end >= 22 && end <= len(content) {
			content[12], content[13] = 0, 0
			binary.BigEndian.PutUint16(content[12:], sum(content[2:end]))
		}
	}
}

func BenchmarkSwitch(b *testing.B) {
	for _, c := range []struct {
		name string
		size int
	}{{"64", 64}, {"1514", 1514}, {"9014", 9014}} {
		b.Run(c.name, func(b *testing.B) { benchmark(b, c.size) })
	}
}

// benchmark measures frames from one guest to another, which has at most 100
// frames on the way, so that none is dropped.
func benchmark(b *testing.B, size int) {
	n := newNetwork(b, network.WithMTU(network.MaxMTU))
	from, to := attach(b, n, "from"), attach(b, n, "to")
	frame := ethernet(to.port.MAC(), from.port.MAC(), typeTest, make([]byte, size-14))
	window := make(chan struct{}, 100)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for range b.N {
			window <- struct{}{}
			from.conn.Write(frame)
		}
	}()
	buffer := make([]byte, size)
	for range b.N {
		if _, err := to.conn.Read(buffer); err != nil {
			b.Fatal(err)
		}
		<-window
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
}
