// Package plan turns the description of a machine into QEMU's arguments, and into the
// fingerprint of a saved machine. Its functions depend only on their parameters.
package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
)

// A Setup has the values that the arguments depend on besides the description: the files of
// one run, and QEMU's connections.
type Setup struct {
	Accelerator string // kvm or tcg

	Layers    []string // path of the guest's writes, one per disk
	UEFIVars  string   // path of the UEFI variables; "" without UEFI
	Files     string   // folder with Config.Files by their names; "" without files
	Initrd    string   // path of the initrd with the agent; "" if no agent comes by an initrd
	AgentDisk string   // folder with the agent; "" if no agent comes on a disk
	RAM       RAM

	Resumes bool // the machine does not boot
	Console Console
	Agent   bool   // the machine has the agent's channel, which is a Descriptor
	Cards   []Card // on networks
	Linked  int    // the number of Cards, from the first on, that are a Descriptor each
}

// RAM says where the guest's RAM is.
type RAM struct {
	Path string // "" if only QEMU has it
	// Own says that the guest writes to the file. Otherwise it has a private view.
	Own bool
	// ReadOnly says that others use the file, too: it is an output of a build. QEMU 8.2
	// and newer can map one.
	ReadOnly bool
}

// A Console is the connection of the first serial port.
type Console int

const (
	// Terminal is standard input and output, for a user.
	Terminal Console = iota
	// Recorded is standard output. The machine stays after the guest's end, so that a
	// screenshot can be taken.
	Recorded
)

// A Card is a network card as the guest knows it.
type Card struct {
	MAC    string `json:"mac"`
	Prefix string `json:"prefix"` // address and length of the subnet, as in 10.77.0.2/24
}

// A Descriptor is a file that QEMU inherits.
type Descriptor int

const (
	Agent    Descriptor = iota // the agent's channel
	Firmware                   // SeaBIOS's debug port
	Network                    // the next of Setup.Cards
)

// A Plan is how to start QEMU.
type Plan struct {
	Args []string
	// Descriptors are the files that QEMU inherits, in order, from FirstDescriptor on.
	Descriptors []Descriptor
}

// FirstDescriptor is the number of the first file in exec.Cmd.ExtraFiles.
const FirstDescriptor = 3

// Make returns how to start QEMU for a machine.
func Make(c *machine.Config, s *Setup) (*Plan, error) {
	a := &arguments{config: c, setup: s}
	if err := a.addMachine(); err != nil {
		return nil, err
	}
	for _, arg := range c.QEMUArgs {
		a.add(arg.String())
	}
	a.add("-display", "none")
	switch s.Console {
	case Terminal:
		a.add("-serial", "mon:stdio")
	case Recorded:
		a.add("-no-shutdown", "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console")
	}
	if s.Resumes {
		a.add("-incoming", "defer")
	}
	a.addAgent()
	if s.Console == Recorded && !s.Resumes && hasDebugPort(c) {
		a.add("-chardev", fmt.Sprintf("socket,id=firmware,fd=%d", a.descriptor(Firmware)), "-device", debugPort)
	}
	for i, card := range s.Cards {
		a.addCard(i, card.MAC)
	}
	return &Plan{a.args, a.descriptors}, nil
}

// arguments collect QEMU's arguments.
type arguments struct {
	config      *machine.Config
	setup       *Setup
	args        []string
	descriptors []Descriptor
}

// descriptor adds a descriptor, and returns its number.
func (a *arguments) descriptor(d Descriptor) int {
	a.descriptors = append(a.descriptors, d)
	return FirstDescriptor + len(a.descriptors) - 1
}

// addMachine adds the machine without its connections.
func (a *arguments) addMachine() error {
	c := a.config
	for _, folder := range c.DataDirs {
		a.add("-L", folder)
	}
	a.add("-nodefaults", "-no-user-config", "-no-reboot")
	a.add("-accel", a.setup.Accelerator)
	a.add("-cpu", a.cpuModel(), "-smp", strconv.Itoa(c.CPUs), "-m", c.Memory)
	a.addRAM()
	a.addFirmware()
	if err := a.addKernel(); err != nil {
		return err
	}
	if err := a.addDisks(); err != nil {
		return err
	}
	a.addFiles()
	a.addNetwork()
	if c.Display && !c.IsMicroVM() {
		a.add("-device", map[string]string{"x86_64": "VGA", "aarch64": "virtio-gpu-pci"}[c.Arch])
	}
	if c.DebugExit {
		a.add("-device", "isa-debug-exit,iobase=0xf4,iosize=0x04")
	}
	a.addAgentDisk()
	return nil
}

// cpuModel returns the processor. An x86 guest that sees erms and fsrm copies and clears memory
// by string instructions, which TCG executes byte by byte. Without the two, it reads a file from
// its page cache seven times as fast.
func (a *arguments) cpuModel() string {
	c := a.config
	if a.setup.Accelerator == "tcg" && c.Arch == "x86_64" && c.CPUModel == "max" {
		return "max,erms=off,fsrm=off"
	}
	return c.CPUModel
}

// addRAM adds the RAM, if it is in a file.
func (a *arguments) addRAM() {
	ram, size := a.setup.RAM, a.config.Memory
	if ram.Path == "" {
		return
	}
	if !strings.ContainsAny(size[len(size)-1:], "kKmMgGtT") {
		size += "M" // QEMU's unit of -m
	}
	// A comma in a value is doubled.
	object := "memory-backend-file,id=ram,size=" + size + ",mem-path=" + strings.ReplaceAll(ram.Path, ",", ",,")
	switch {
	case ram.Own:
		object += ",share=on"
	case ram.ReadOnly:
		object += ",share=off,readonly=on,rom=off"
	default:
		object += ",share=off"
	}
	a.add("-object", object)
}

// debugPort is the device that SeaBIOS writes its messages to. It shows its messages on
// the screen otherwise, but not on a serial port.
const debugPort = "isa-debugcon,iobase=0x402,chardev=firmware"

// hasDebugPort reports whether SeaBIOS, with which the machine boots, looks for something
// to boot from, and can say so.
func hasDebugPort(c *machine.Config) bool {
	own := slices.ContainsFunc(c.QEMUArgs, func(arg machine.Argument) bool { return strings.Contains(arg.String(), "isa-debugcon") })
	return c.Arch == "x86_64" && !c.IsMicroVM() && c.Kernel == "" && c.UEFICode == "" && !own
}
