package network_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/network"
)

func setFaults(t testing.TB, g *guest, f network.Faults) {
	t.Helper()
	if err := g.port.SetFaults(f); err != nil {
		t.Fatal(err)
	}
}

// sent is the number of frames in arrivals. All fit into a queue, even twice.
const sent = 500

// arrivals returns which of the numbered frames arrive.
func arrivals(t *testing.T, f network.Faults) []string {
	t.Helper()
	n := newNetwork(t)
	a, b := attach(t, n, "a"), attach(t, n, "b")
	setFaults(t, b, f)
	for i := range sent {
		a.send(b.port.MAC(), strconv.Itoa(i))
	}
	// The frame that ends the test must not be lost. It overtakes none.
	for a.port.Stats().FromGuest < sent {
		time.Sleep(time.Millisecond)
	}
	setFaults(t, b, network.Faults{})
	a.send(b.port.MAC(), "end")
	return b.texts()
}

func TestLoss(t *testing.T) {
	first := arrivals(t, network.Faults{Loss: 0.3, Seed: 1})
	if len(first) < sent*6/10 || len(first) > sent*8/10 {
		t.Errorf("%d of %d frames arrive, want about 70 %%", len(first), sent)
	}
	if again := arrivals(t, network.Faults{Loss: 0.3, Seed: 1}); !slices.Equal(first, again) {
		t.Error("the same seed loses other frames")
	}
	if delayed := arrivals(t, network.Faults{Loss: 0.3, Seed: 1, Delay: time.Millisecond, Jitter: time.Millisecond}); !slices.Equal(first, delayed) {
		t.Error("with a delay, the same seed loses other frames or changes their order")
	}
	if other := arrivals(t, network.Faults{Loss: 0.3, Seed: 2}); slices.Equal(first, other) {
		t.Error("another seed loses the same frames")
	}
	if got := arrivals(t, network.Faults{Loss: 1}); len(got) != 0 {
		t.Errorf("%d frames arrive, want none", len(got))
	}
	if got := arrivals(t, network.Faults{Seed: 1}); len(got) != sent {
		t.Errorf("%d frames arrive, want all", len(got))
	}
}

// Documented: the same sequence of frames has the same faults in every release.
func TestLossIsStable(t *testing.T) {
	const want = "2 3 6 7 8 9 11 12 13 14"
	if got := strings.Join(arrivals(t, network.Faults{Loss: 0.3, Seed: 1})[:10], " "); got != want {
		t.Errorf("the first frames that arrive are %s, want %s", got, want)
	}
}

func TestLossFromGuest(t *testing.T) {
	n := newNetwork(t)
	a, b := attach(t, n, "a"), attach(t, n, "b")
	setFaults(t, a, network.Faults{Loss: 1})
	a.send(broadcast, "lost")
	for a.port.Stats().Lost == 0 {
		time.Sleep(time.Millisecond)
	}
	b.send(a.port.MAC(), "lost, too")
	for a.port.Stats().Lost == 1 {
		time.Sleep(time.Millisecond)
	}
	setFaults(t, a, network.Faults{})
	a.send(broadcast, "end")
	b.want()
	b.send(broadcast, "end")
	a.want()
}

func TestDuplicate(t *testing.T) {
	got := arrivals(t, network.Faults{Duplicate: 0.2})
	unique := slices.Compact(slices.Clone(got))
	if len(unique) != sent || len(got) < sent*11/10 || len(got) > sent*13/10 {
		t.Errorf("%d of %d frames arrive as %d, want all, and 20 %% twice", len(unique), sent, len(got))
	}
}

func TestDelay(t *testing.T) {
	const delay = 50 * time.Millisecond
	n := newNetwork(t)
	a, b := attach(t, n, "a"), attach(t, n, "b")
	setFaults(t, a, network.Faults{Delay: delay})
	sent := time.Now()
	a.send(b.port.MAC(), "first")
	b.receive()
	b.send(a.port.MAC(), "answer")
	a.receive()
	if took := time.Since(sent); took < 2*delay {
		t.Errorf("the answer arrives after %v, want at least %v", took, 2*delay)
	}
	// A frame on the link keeps its delay, and a later one its place.
	sent = time.Now()
	a.send(b.port.MAC(), "delayed")
	for a.port.Stats().FromGuest < 2 {
		time.Sleep(time.Millisecond)
	}
	setFaults(t, a, network.Faults{})
	a.send(b.port.MAC(), "end")
	b.want("delayed")
	if took := time.Since(sent); took < delay {
		t.Errorf("the frame arrives after %v, want at least %v", took, delay)
	}
}

// A cable that is cut loses the frames that are on it.
func TestCutLosesDelayedFrames(t *testing.T) {
	n := newNetwork(t)
	a, b := attach(t, n, "a"), attach(t, n, "b")
	setFaults(t, b, network.Faults{Delay: time.Minute})
	a.send(b.port.MAC(), "on the cable")
	for a.port.Stats().FromGuest < 1 {
		time.Sleep(time.Millisecond)
	}
	a.sendFrame(arpRequest(n, a)) // after the answer, the frame above is on its way
	a.receive()
	b.port.Cut()
	b.port.Mend()
	setFaults(t, b, network.Faults{})
	a.send(b.port.MAC(), "end")
	b.want()
}

func TestReorder(t *testing.T) {
	n := newNetwork(t)
	a, b := attach(t, n, "a"), attach(t, n, "b")
	setFaults(t, b, network.Faults{Delay: time.Minute})
	a.send(b.port.MAC(), "late")
	a.sendFrame(arpRequest(n, a))
	a.receive()
	setFaults(t, b, network.Faults{Delay: time.Minute, Reorder: 1})
	a.send(b.port.MAC(), "early")
	a.send(b.port.MAC(), "end")
	b.want("early")
}

func TestRate(t *testing.T) {
	n := newNetwork(t)
	a, b := attach(t, n, "a"), attach(t, n, "b")
	setFaults(t, b, network.Faults{Rate: 80_000}) // 10,000 bytes per second
	sent := time.Now()
	for range 5 {
		a.send(b.port.MAC(), strings.Repeat("x", 1000-14))
	}
	for range 5 {
		b.receive()
	}
	if took := time.Since(sent); took < 500*time.Millisecond {
		t.Errorf("5,000 bytes arrive after %v, want at least half a second", took)
	}
}

func TestFaultsErrors(t *testing.T) {
	n := newNetwork(t)
	a := attach(t, n, "a")
	for _, c := range []struct {
		faults network.Faults
		want   string
	}{
		{network.Faults{Loss: 30}, "the rate Loss = 30 must be from 0 to 1"},
		{network.Faults{Duplicate: -1}, "the rate Duplicate = -1 must be from 0 to 1"},
		{network.Faults{Reorder: 0.1}, "the field Reorder requires a Delay that reordered frames skip"},
		{network.Faults{Delay: -1}, "the field Delay = -1ns must be from 0 to 1h0m0s"},
		{network.Faults{Delay: time.Second, Jitter: 2 * time.Second}, "the field Jitter = 2s must be from 0 to Delay, which is 1s"},
		{network.Faults{Rate: 10}, "the field Rate = 10 must be at least 1000 bits per second, or 0 for unlimited"},
	} {
		want := `network: faults of machine "a": ` + c.want
		if got := fmt.Sprint(a.port.SetFaults(c.faults)); got != want {
			t.Errorf("%+v: got the error %s, want %s", c.faults, got, want)
		}
	}
}
