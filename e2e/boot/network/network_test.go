// Package network_test runs Linux guests on a network. The kernel's DHCP client, Go's
// resolver and TCP test the switch.
package network_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/network"
)

func TestTwoMachines(t *testing.T) {
	net, err := network.New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := net.Close(); err != nil {
			t.Error(err)
		}
	}()
	var ours bytes.Buffer
	capture := net.Capture(&ours)
	theirs := filepath.Join(t.TempDir(), "qemu.pcap")
	web, client := attach(t, net, "web"), attach(t, net, "client")
	server := start(t, web, "virtio-net-pci")
	m := start(t, client, "virtio-net-pci", "-object", "filter-dump,id=dump0,netdev=net0,file="+theirs)

	server.check("web "+web.MAC().String()+" 10.77.0.2/24 1500", "addresses")
	m.check("client "+client.MAC().String()+" 10.77.0.3/24 1500", "addresses")
	for _, name := range []string{"web", "web.test", "WEB.test."} {
		m.check("10.77.0.2", "lookup %s", name)
		m.check("page of web", "get http://%s/", name)
	}
	m.fails("no such host", "lookup other")
	m.fails("no such host", "lookup example.com")
	m.check("answer from 10.77.0.1", "ping 10.77.0.1 60")
	m.check("answer from 10.77.0.2", "ping web 60")
	server.check("answer from 10.77.0.3", "ping client 60")
	if got := m.do("get http://web/20000000"); !strings.HasPrefix(got, "ok: 20000000 bytes ") {
		t.Errorf("got %q, want 20,000,000 bytes", got)
	}

	t.Run("loss", func(t *testing.T) {
		// With more loss, TCP would wait for minutes now and then.
		setFaults(t, client, network.Faults{Loss: 0.1, Seed: 1})
		before := client.Stats().Lost
		if got := m.do("get http://10.77.0.2/100000"); !strings.HasPrefix(got, "ok: 100000 bytes ") {
			t.Errorf("got %q, want 100,000 bytes", got)
		}
		if client.Stats().Lost == before {
			t.Error("no frame was lost")
		}
		setFaults(t, client, network.Faults{Loss: 1})
		m.fails("timeout", "ping 10.77.0.2 3")
	})
	t.Run("delay", func(t *testing.T) {
		const delay = 100 * time.Millisecond
		setFaults(t, client, network.Faults{Delay: delay, Jitter: delay / 10})
		sent := time.Now()
		m.check("answer from 10.77.0.2", "ping 10.77.0.2 60")
		if took := time.Since(sent); took < 180*time.Millisecond {
			t.Errorf("the ping took %v, want at least 180 ms", took)
		}
		setFaults(t, client, network.Faults{})
	})
	t.Run("cut", func(t *testing.T) {
		client.Cut()
		m.fails("timeout", "ping 10.77.0.2 3")
		client.Mend()
		m.check("answer from 10.77.0.2", "ping 10.77.0.2 60")
		net.Cut(web, client)
		m.fails("timeout", "ping 10.77.0.2 3")
		m.check("answer from 10.77.0.1", "ping 10.77.0.1 60")
		net.Mend(web, client)
		m.check("answer from 10.77.0.2", "ping 10.77.0.2 60")
	})

	m.powerOff()
	if err := capture.Close(); err != nil {
		t.Error(err)
	}
	compare(t, ours.Bytes(), theirs, client)

	t.Run("another QEMU on the port", func(t *testing.T) {
		again := start(t, client, "e1000e")
		again.check("client "+client.MAC().String()+" 10.77.0.3/24 1500", "addresses")
		again.check("page of web", "get http://web/")
		again.powerOff()
	})
	server.powerOff()
}

func attach(t *testing.T, net *network.Network, name string) *network.Port {
	t.Helper()
	port, err := net.Attach(name)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func setFaults(t *testing.T, port *network.Port, f network.Faults) {
	t.Helper()
	if err := port.SetFaults(f); err != nil {
		t.Fatal(err)
	}
}

// compare compares the capture with QEMU's recording of a port: a file of the same
// format, whose frames the capture must have. The capture lacks frames of this guest
// that faults lost.
func compare(t *testing.T, ours []byte, path string, port *network.Port) {
	t.Helper()
	theirs, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const snapLen = 16 // offset in the header of a field in which QEMU's file differs
	if !bytes.Equal(ours[:snapLen], theirs[:snapLen]) || !bytes.Equal(ours[20:24], theirs[20:24]) {
		t.Errorf("the capture starts with %x, want as QEMU's recording: %x", ours[:24], theirs[:24])
	}
	known := map[string]int{}
	for _, frame := range frames(ours) {
		known[string(frame)]++
	}
	missing, total := 0, 0
	for _, frame := range frames(theirs) {
		total++
		if known[string(frame)]--; known[string(frame)] < 0 {
			missing++
			if !bytes.Equal(frame[6:12], port.MAC()) {
				t.Errorf("the guest received %x, which the capture does not have", frame)
			}
		}
	}
	if lost := int(port.Stats().Lost); missing > lost || total < 1000 {
		t.Errorf("the capture lacks %d frames, want at most the %d that the link lost; QEMU recorded %d, want at least 1,000", missing, total, lost)
	}
}

// frames returns the frames of a pcap file.
func frames(pcap []byte) (frames [][]byte) {
	for pcap = pcap[24:]; len(pcap) > 16; {
		size := binary.LittleEndian.Uint32(pcap[8:])
		frames = append(frames, pcap[16:16+size])
		pcap = pcap[16+size:]
	}
	return frames
}
