package vmtest

import (
	"reflect"
	"sync"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/network"
)

// Freeze saves the state of the machine for Fork, and ends it. The first Fork calls
// it; a test calls it to choose the moment. Commands that run in the guest end in the
// forks; services and background processes go on.
func (m *Machine) Freeze() {
	m.t.Helper()
	freezeAll(m.t, []*Machine{m})
}

// Fork starts a machine that goes on from where m is, in a fraction of the time of
// a boot. The first Fork freezes m, which does not run any more then. Forks can be
// made at the same time, from parallel subtests:
//
//	m := vmtest.Start(t, os.Getenv("DEBIAN"))
//	m.Run("install-my-thing")
//	for _, c := range cases {
//		t.Run(c.name, func(t *testing.T) {
//			f := m.Fork(t)
//			f.Run(c.command)
//		})
//	}
//
// A fork has its own disks, random numbers and clock. Its console begins empty. It
// is cut off from the networks of m, unless [WithNetwork] attaches it to one: to its own
// network, or, with [WithName], to one that it shares with other forks.
// It ends with the test t.
func (m *Machine) Fork(t testing.TB, opts ...Option) *Machine {
	t.Helper()
	freezeAll(t, []*Machine{m})
	return m.fork(t, opts)
}

// fork starts a machine from the snapshot.
func (m *Machine) fork(t testing.TB, opts []Option) *Machine {
	t.Helper()
	options := m.options
	options.Saveable, options.Networks = false, nil
	config, options := apply(m.config, options, opts)
	if !reflect.DeepEqual(config, m.config) {
		t.Fatalf("Fork of %s: %v", m.VM.Name(), errForkDiffers)
	}
	return start(t, config, options, m.snapshot.Start)
}

// ForkAll forks machines that talk to each other. It pauses all of them before it
// saves the first. The forks are attached to copies of the machines' networks,
// with the same names and addresses, so that several sets of forks do not see each
// other. It returns the forks in the order of machines.
func ForkAll(t testing.TB, machines ...*Machine) []*Machine {
	t.Helper()
	freezeAll(t, machines)
	copies := make(map[*network.Network]*network.Network)
	forks := make([]*Machine, len(machines))
	for i, m := range machines {
		opts := []Option{WithName(m.VM.Name())}
		for _, n := range m.options.Networks {
			if copies[n] == nil {
				copies[n] = keepNetwork(t, n.Copy())
			}
			opts = append(opts, WithNetwork(copies[n]))
		}
		forks[i] = m.fork(t, opts)
	}
	return forks
}

// freezing is held while machines are frozen. There is one for all, so that sets of
// machines that overlap do not wait for each other.
var freezing sync.Mutex

// freezeAll freezes the machines that are not frozen yet. If it fails, the test t fails:
// not that of the machine, which may run in another goroutine.
func freezeAll(t testing.TB, machines []*Machine) {
	t.Helper()
	freezing.Lock()
	defer freezing.Unlock()
	var running []*Machine
	var inner []*vm.Machine
	for _, m := range machines {
		if m.freezeErr != nil {
			t.Fatal(m.freezeErr)
		}
		if m.snapshot == nil {
			running, inner = append(running, m), append(inner, m.VM)
		}
	}
	if len(running) == 0 {
		return
	}
	snapshots, err := vm.FreezeAll(running[0].ctx, inner...)
	for i, m := range running {
		if err != nil {
			m.freezeErr = err
			continue
		}
		m.snapshot = snapshots[i]
		if busy := m.snapshot.Busy(); busy != "" {
			t.Logf("Fork of %s: %s", m.VM.Name(), busy)
		}
		m.t.Cleanup(func() { snapshots[i].Close() })
	}
	if err != nil {
		t.Fatal(err)
	}
}
