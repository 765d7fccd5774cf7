// Package snapshots_test starts machines from a snapshot that the build made.
package snapshots_test

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/vmtest"
)

func resume(t *testing.T, opts ...vm.Option) *vmtest.Machine {
	t.Helper()
	program, err := runfiles.Rlocation(os.Getenv("PROGRAM"))
	if err != nil {
		t.Fatal(err)
	}
	m := vmtest.Start(t, os.Getenv("BOOTED"), opts...)
	m.CopyTo("/program", program)
	return m
}

func TestClockAndRandomNumbers(t *testing.T) {
	first, second := resume(t), resume(t)
	if a, b := first.Output("/program", "random"), second.Output("/program", "random"); a == b {
		t.Errorf("two machines drew the same random number %s", a)
	}
	now, err := strconv.ParseInt(strings.TrimSpace(first.Output("/program", "now")), 10, 64)
	if d := time.Since(time.Unix(0, now)); err != nil || d.Abs() > 10*time.Second {
		t.Errorf("the guest's clock is %v behind (%v)", d, err)
	}
}

func TestWritesArePrivate(t *testing.T) {
	first, second := resume(t), resume(t)
	first.WriteFile("/dev/vda", []byte("first"))
	if got := second.ReadFile("/dev/vda"); !bytes.HasPrefix(got, make([]byte, 5)) {
		t.Errorf("the other machine's disk begins with %q", got[:5])
	}
	if got := first.ReadFile("/dev/vda"); !bytes.HasPrefix(got, []byte("first")) {
		t.Errorf("the disk begins with %q", got[:5])
	}
}

// The snapshot has a network card, which a test links to a network.
func TestNetwork(t *testing.T) {
	net := vmtest.Network(t)
	server := resume(t, vm.On(net), vm.Named("server"))
	client := resume(t, vm.On(net), vm.Named("client"))
	server.Output("/program", "background", "serve", ":80")
	if got := client.Output("/program", "get", "http://server/page"); got != "hello from /page" {
		t.Errorf("got %q", got)
	}
}

// A machine that resumed can be forked if it owns its RAM.
func TestFork(t *testing.T) {
	m := resume(t, vm.Saveable())
	m.WriteFile("/state", []byte("saved"))
	if got := m.Fork(t).ReadFile("/state"); string(got) != "saved" {
		t.Errorf("got %q", got)
	}
}
