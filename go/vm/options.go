package vm

import (
	"io"
	"strings"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/go/vm/network"
)

const defaultCloseTimeout = 5 * time.Second

// DefaultFailOn are messages that mean a crash, or that the guest waits for a user: panics
// of Linux, emergency modes of systemd and dracut, the shell of initramfs-tools, the
// prompt of GRUB, a UEFI firmware without anything to boot from.
var DefaultFailOn = []string{
	"Kernel panic - not syncing",
	"BUG: unable to handle",
	"Oops: [0-9]",
	"You are in (emergency|rescue) mode",
	"Entering emergency mode\\. Exit the shell",
	"Gave up waiting for root file system device",
	"^grub( rescue)?> ",
	"BdsDxe: No bootable option or device was found",
}

// Options say how to run a machine.
type Options struct {
	// Dir is an empty folder for the machine's layers and temporary files. The
	// caller removes it after Close.
	Dir string
	// Logs is a folder for console.log, qemu.log, firmware.log, command and
	// screenshot.png, and for what CollectLogs collects. Without it, none is written. A
	// log ends after 64 MiB.
	Logs string
	// Console receives a copy of console.log.
	Console io.Writer
	// FailOn are regular expressions. A match on the console ends the machine.
	FailOn []string
	// Agent starts the agent in the guest, unless Config.Agent is AgentNone.
	Agent bool
	// Name is the machine's host name on its networks. The default is the last
	// part of Config.Target.
	Name string
	// Networks are the networks that the machine is attached to, each with one
	// network card.
	Networks []*network.Network
	// Static makes the agent set the addresses of the cards on Networks, the host
	// name and the DNS server.
	Static bool
	// Saveable keeps the RAM where Freeze can save it.
	Saveable bool
	// Cards is the number of network cards that are linked to nothing, after those
	// of Networks. Machines that resume can link them to networks.
	Cards int
	// Layers are where the guest's writes go, one per disk of the Config. Nil means
	// layers in Dir.
	Layers []Layer
	// Trace is called at the end of each step of the start, and of Freeze, by the
	// goroutine that did it, with the name of the step.
	Trace func(step string)
	// CloseTimeout limits all that happens once the machine is to end: the
	// screenshot, and QEMU's own end before it is killed. It also limits CollectLogs, and
	// how long the guest may take to end a command whose context is done. The default is
	// 5 s, times Config.TimeLimitFactor. [Reserve] has one for tests.
	CloseTimeout time.Duration
}

// Reserve divides the time that a test has: it should know its result when only reserve
// is left, which is for the end of the machine, its logs and the report. The machine's
// Options.CloseTimeout fits twice into reserve: for the end of a command in a guest that
// hangs, and for QEMU's.
func Reserve(total time.Duration) (reserve, closeTimeout time.Duration) {
	reserve = min(max(total/10, 2*time.Second), 15*time.Second, total/2)
	return reserve, min(reserve/4, defaultCloseTimeout)
}

// Steps of Freeze, in order.
const (
	StepRest  = "rest"  // the guest is at rest, and its programs are stopped
	StepSaved = "saved" // the state is saved, and QEMU ends
)

// Steps of the start of a machine that resumes, in order. A machine that boots has the
// same, without StepFingerprint and StepState.
const (
	StepFiles       = "files"       // the machine's own layers exist
	StepQEMU        = "QEMU"        // QEMU has started and answers
	StepFingerprint = "fingerprint" // it was compared, which began with the start
	StepState       = "state"       // the state of the devices is loaded
	StepAgent       = "agent"       // the guest runs, and its agent answered
	StepWelcome     = "welcome"     // the guest has its time, random numbers and addresses
)

// A Layer is the qcow2 image with the guest's writes to a disk.
type Layer struct {
	Path    string // must not exist
	Backing string // the backing file name, if Path and the disk move; else ""
}

func (o *Options) trace(step string) {
	if o.Trace != nil {
		o.Trace(step)
	}
}

// HostName returns the host name of a machine with these options on its networks.
func (o *Options) HostName(c *machine.Config) string {
	if o.Name != "" {
		return o.Name
	}
	return strings.ReplaceAll(c.Target[strings.LastIndexAny(c.Target, ":/")+1:], "_", "-")
}
