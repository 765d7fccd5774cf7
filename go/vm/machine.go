// Package vm runs virtual machines in QEMU.
//
// Start boots a machine from its description, a [machine.Config]. Expect waits for text on
// its console, Wait for its end; Close ends it. A machine writes only to its own folder:
// to private layers over its disks and to its own UEFI variables.
package vm

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/go/vm/network"
	"github.com/rules-qcow2/rules_qcow2/go/vm/plan"
	"github.com/rules-qcow2/rules_qcow2/go/vm/qemu"
)

// A Machine is a running QEMU. Its methods may be called at the same time.
type Machine struct {
	config  *machine.Config
	options Options
	launch  *launch
	started time.Time

	process  *qemu.Process
	console  *console
	logs     logs
	ports    map[string]string
	channel  net.Conn        // the agent's; nil without one
	firmware net.Conn        // SeaBIOS's debug port; nil without one
	links    []*network.Port // one per network

	stop     chan struct{} // closed by Stop
	stopOnce sync.Once
	ended    chan struct{} // closed when the guest or QEMU ends
	done     chan struct{} // closed after the last output of QEMU

	rebooting sync.Mutex // held while the guest reboots

	mu              sync.Mutex
	agent           *agentLink    // of the present boot; nil without an agent
	cards           []plan.Card   // as the guest knows them
	poweredOn       bool          // another Machine continues this one
	reboots         chan struct{} // receives an item for a reset that is expected
	end             End
	stderr          []string
	screenshotError error
	failedUnits     []string // of systemd in the guest
}

// Name returns the machine's host name on its networks.
func (m *Machine) Name() string { return m.options.HostName(m.config) }

// Links returns the machine's ports, one per network, in the order of
// Options.Networks.
func (m *Machine) Links() []*network.Port { return m.links }

// monitor returns the connection to QEMU's monitor.
func (m *Machine) monitor() *qemu.Monitor { return m.process.Monitor }

// TimeLimit returns a time limit, multiplied by Config.TimeLimitFactor. The limits of
// Exec and WaitFor are multiplied there.
func (m *Machine) TimeLimit(limit time.Duration) time.Duration { return m.config.TimeLimit(limit) }

// Accelerator returns kvm or tcg.
func (m *Machine) Accelerator() string { return m.launch.setup.Accelerator }

// Layers returns the paths of the images that the guest writes to, one per
// disk.
func (m *Machine) Layers() []string { return m.launch.setup.Layers }

// Ports returns the host's addresses of forwarded ports, as in
// "127.0.0.1:34567", by the protocol and the guest's port, as in "tcp:22".
func (m *Machine) Ports() map[string]string { return m.ports }

// ConsoleLog returns the path of console.log, "" without Options.Logs.
func (m *Machine) ConsoleLog() string {
	if m.options.Logs == "" {
		return ""
	}
	return filepath.Join(m.options.Logs, "console.log")
}

// explain adds to an error how QEMU ended, if it ended before it was told to.
func (m *Machine) explain(err error) error {
	select {
	case <-m.done:
	default:
		return err
	}
	switch end := m.End(); {
	case end.Failure != nil:
		return end.Failure
	case !end.Stopped && errors.Is(err, qemu.ErrMonitorClosed):
		return end.Err()
	case !end.Stopped:
		return fmt.Errorf("%w: %w", err, end.Err())
	}
	return err
}
