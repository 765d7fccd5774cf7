package network_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/need"
)

// A buffer is a bytes.Buffer for two goroutines.
type buffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// frames returns the frames of a pcap file.
func frames(t *testing.T, pcap []byte) (frames [][]byte) {
	t.Helper()
	if len(pcap) < 24 || binary.LittleEndian.Uint32(pcap) != 0xa1b2c3d4 {
		t.Fatalf("%x does not start as a pcap file", pcap[:min(24, len(pcap))])
	}
	for pcap = pcap[24:]; len(pcap) > 0; {
		size := binary.LittleEndian.Uint32(pcap[8:])
		frames = append(frames, pcap[16:16+size])
		pcap = pcap[16+size:]
	}
	return frames
}

func TestCapture(t *testing.T) {
	n := newNetwork(t)
	a, b := attach(t, n, "a"), attach(t, n, "b")
	var first, second buffer
	capture := n.Capture(&first)
	n.Capture(&second)
	a.send(b.port.MAC(), "once")
	a.send(broadcast, "end")
	b.want("once")
	a.sendFrame(arpRequest(n, a))
	answer := a.receive()
	if err := capture.Close(); err != nil {
		t.Fatal(err)
	}
	a.send(b.port.MAC(), "later")
	b.receive() // the ARP request
	b.receive()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	want := [][]byte{
		ethernet(b.port.MAC(), a.port.MAC(), typeTest, []byte("once")),
		ethernet(broadcast, a.port.MAC(), typeTest, []byte("end")),
		arpRequest(n, a),
		answer,
	}
	if got := frames(t, first.Bytes()); !bytes.Equal(bytes.Join(got, nil), bytes.Join(want, nil)) {
		t.Errorf("the capture has %q, want %q", got, want)
	}
	want = append(want, ethernet(b.port.MAC(), a.port.MAC(), typeTest, []byte("later")))
	if got := frames(t, second.Bytes()); !bytes.Equal(bytes.Join(got, nil), bytes.Join(want, nil)) {
		t.Errorf("the capture has %q, want %q", got, want)
	}
	var late buffer
	if err := n.Capture(&late).Close(); err != nil || len(frames(t, late.Bytes())) != 0 {
		t.Errorf("the capture of a closed network has %x, %v; want an empty file", late.Bytes(), err)
	}
}

// tcpdump judges the file and the answers of the switch in it.
func TestTcpdump(t *testing.T) {
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		need.Skip(t, "tcpdump is not on PATH; install the package of that name")
	}
	n := newNetwork(t)
	a := attach(t, n, "a")
	path := filepath.Join(t.TempDir(), "test.pcap")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	n.Capture(file)
	a.sendFrame(arpRequest(n, a))
	a.receive()
	a.dhcp(dhcpRequest(1, a.port.MAC()))
	a.lease()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	// Reads its input: it may not be allowed to open files. As root it would become a
	// user that may not exist.
	cmd := exec.Command(tcpdump, "-Z", "root", "-n", "-vv", "-e", "-r", "-")
	cmd.Stdin = in
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{
		"EN10MB (Ethernet)",
		"Request who-has 10.77.0.1 tell 10.77.0.2",
		"Reply 10.77.0.1 is-at",
		"10.77.0.1.67 > 10.77.0.2.68: [udp sum ok] BOOTP/DHCP, Reply",
		"DHCP-Message (53), length 1: Offer",
		`Hostname (12), length 1: "a"`,
		`Domain-Name (15), length 4: "test"`,
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("tcpdump does not say %q:\n%s", want, out)
		}
	}
}

// A blocked is a writer that waits for its channel.
type blocked chan struct{}

func (b blocked) Write(p []byte) (int, error) {
	<-b
	return len(p), nil
}

// The network does not wait for a capture.
func TestSlowCapture(t *testing.T) {
	n := newNetwork(t)
	a, b := attach(t, n, "a"), attach(t, n, "b")
	writer := make(blocked)
	capture := n.Capture(writer)
	for range 5000 {
		a.send(b.port.MAC(), strings.Repeat("x", 1000))
		b.receive()
	}
	close(writer)
	if err := capture.Close(); err == nil || !strings.Contains(err.Error(), "frames are missing because the writer is slower than the network") {
		t.Errorf("got the error %v, want one about missing frames", err)
	}
}

type broken struct{}

var errBroken = errors.New("no space left")

func (broken) Write(p []byte) (int, error) { return 0, errBroken }

func TestBrokenCapture(t *testing.T) {
	n := newNetwork(t)
	a, b := attach(t, n, "a"), attach(t, n, "b")
	capture := n.Capture(broken{})
	a.send(b.port.MAC(), "end")
	b.want()
	for range 2 {
		if err := capture.Close(); !errors.Is(err, errBroken) || err.Error() != "network: capture: no space left" {
			t.Errorf("got the error %v, want %v", err, errBroken)
		}
	}
}
