// Package machine describes virtual machines. It is data, which the rules write as JSON:
// nothing here runs.
package machine

import (
	"strings"
	"time"
)

// A Config describes a machine. A qemu_vm target writes it as JSON, with the paths
// of runfiles; Locate turns those into paths of this host.
type Config struct {
	// Target names the machine in errors: the label of its target.
	Target string `json:"target"`

	QEMU     string   `json:"qemu"`      // path of the system emulator
	QEMUImg  string   `json:"qemu_img"`  // "" if there is none
	DataDirs []string `json:"data_dirs"` // folders for QEMU's -L, or a file in each

	Arch     string `json:"arch"`      // x86_64 or aarch64
	Machine  string `json:"machine"`   // as -machine takes it
	CPUModel string `json:"cpu_model"` // as -cpu takes it
	CPUs     int    `json:"cpus"`
	Memory   string `json:"memory"` // as -m takes it
	Accel    string `json:"accel"`  // auto, kvm or tcg

	UEFICode string `json:"uefi_code"` // "" for the machine's own firmware
	UEFIVars string `json:"uefi_vars"` // the template of the variables

	Kernel     string   `json:"kernel"` // "" to boot from a disk
	Initrd     string   `json:"initrd"`
	KernelArgs []string `json:"kernel_args"`

	Disks        []Disk     `json:"disks"`
	Files        []File     `json:"files"`       // on a read-only FAT disk
	FilesLabel   string     `json:"files_label"` // volume label of that disk
	Network      string     `json:"network"`     // none or user
	ForwardPorts []string   `json:"forward_ports"`
	Display      bool       `json:"display"`
	QEMUArgs     []Argument `json:"qemu_args"` // appended to QEMU's command line

	// Agent says how the agent gets into the guest: AgentInitrd and so on. The
	// empty string is AgentNone.
	Agent string `json:"agent"`
	// AgentProgram is the path of the agent for the guest's architecture.
	AgentProgram string `json:"agent_program"`
	// AgentChannel is ChannelVirtio, the default, or ChannelSerial.
	AgentChannel string `json:"agent_channel"`

	// Ready says when a machine is ready to be saved; nil if it never is.
	Ready *Ready `json:"ready,omitempty"`
	// Snapshot is the saved state in which the machine starts; nil to boot.
	Snapshot *Snapshot `json:"snapshot,omitempty"`

	// TimeLimitFactor multiplies all time limits of the machine, for slow hosts. 0
	// means 1.
	TimeLimitFactor int `json:"time_limit_factor"`

	// DebugExit adds the isa-debug-exit device: a guest that writes n to port
	// 0xf4 ends QEMU with exit status 2n+1. x86_64 only.
	DebugExit bool `json:"debug_exit"`
}

// TimeLimit returns a time limit of the machine, multiplied by TimeLimitFactor.
func (c *Config) TimeLimit(limit time.Duration) time.Duration {
	return limit * time.Duration(max(c.TimeLimitFactor, 1))
}

// A Disk is an image and how the guest sees it.
type Disk struct {
	Path      string `json:"path"`
	Format    string `json:"format"`    // raw or qcow2; "" to detect it
	Interface string `json:"interface"` // virtio, nvme, ide or scsi
	Serial    string `json:"serial"`    // serial number; "" for the default
	ReadOnly  bool   `json:"read_only"`
}

// An Argument of QEMU is text and paths in turn, the first of which is text: "file=",
// PATH, ",format=raw". So an argument with one element does not have a path.
type Argument []string

// Arguments returns text without paths.
func Arguments(text ...string) []Argument {
	var args []Argument
	for _, t := range text {
		args = append(args, Argument{t})
	}
	return args
}

func (a Argument) String() string { return strings.Join(a, "") }

// Ready says when a guest is ready. Both conditions must hold.
type Ready struct {
	Expect  []string `json:"expect"`  // patterns for Expect
	Command string   `json:"command"` // a line for the guest's shell that must succeed; "" for none
}

// A File is a file or folder of the host that the guest finds under Name.
type File struct {
	Path string `json:"path"`
	Name string `json:"name"`
}

// A Snapshot is the saved state of a machine, in files. Any number of machines can start
// there, also at the same time: each has its own layers, and a private view of the RAM.
type Snapshot struct {
	RAM      string   `json:"ram"`       // path of the guest's RAM
	State    string   `json:"state"`     // path of the state of QEMU's devices
	Layers   []string `json:"layers"`    // paths of the guest's writes, one qcow2 layer per disk
	UEFIVars string   `json:"uefi_vars"` // path of the UEFI variables; "" without UEFI

	// Fingerprint is the path of a JSON file with the values that must be the same where the
	// machine resumes.
	Fingerprint string `json:"fingerprint"`
	// OnMismatch says what happens if the fingerprint differs: "fail", or
	// "boot" for a machine that boots.
	OnMismatch string `json:"on_mismatch"`
	// AfterResume is a line for the guest's shell that runs once in each machine that
	// resumes, before anything else; "" for none.
	AfterResume string `json:"after_resume"`
	// Runfiles says that the guest has files for tests that run in it.
	Runfiles bool `json:"runfiles"`
}

// Values of Config.Agent: how the agent gets into the guest.
const (
	AgentNone      = "none"       // not at all
	AgentInitrd    = "initrd"     // in front of the initrd of Config.Kernel
	AgentSystemd   = "systemd"    // by a unit that systemd gets by SMBIOS
	AgentCloudInit = "cloud-init" // by a NoCloud seed
	AgentInstalled = "installed"  // it is in the image, and the guest starts it
)

// Values of Config.AgentChannel: the device by which the agent speaks with the host.
const (
	ChannelVirtio = "virtio" // virtio-serial
	ChannelSerial = "serial" // a second 16550 port, for guests without a driver for virtio-serial
)

// HasAgent reports whether the machine can have an agent.
func (c *Config) HasAgent() bool { return c.Agent != "" && c.Agent != AgentNone }

// AgentOnDisk reports whether the agent gets into the guest on a disk of its own.
func (c *Config) AgentOnDisk() bool { return c.Agent == AgentSystemd || c.Agent == AgentCloudInit }

// IsMicroVM reports whether the machine is a microvm, which has no PCI bus.
func (c *Config) IsMicroVM() bool { return strings.HasPrefix(c.Machine, "microvm") }
