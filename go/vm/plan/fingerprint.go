package plan

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
)

// A Fingerprint has everything that must be the same where a machine was saved and
// where it resumes. QEMU itself checks only a part of it.
type Fingerprint struct {
	QEMU        string `json:"qemu"`               // as in "7.2.22 (Debian 1:7.2+dfsg-7)"
	QEMUBuild   string `json:"qemu_build"`         // as qemu.Build returns it
	Accelerator string `json:"accelerator"`        // kvm or tcg
	HostCPU     string `json:"host_cpu,omitempty"` // with kvm
	Arch        string `json:"arch"`
	Machine     string `json:"machine"`   // as in the Config
	CPUModel    string `json:"cpu_model"` // as in the Config
	CPUs        int    `json:"cpus"`
	Memory      string `json:"memory"`
	Firmware    string `json:"firmware,omitempty"` // SHA-256 of the UEFI code
	Kernel      string `json:"kernel,omitempty"`   // SHA-256
	Initrd      string `json:"initrd,omitempty"`   // SHA-256
	// Args are the arguments with which the machine resumes. The values that depend on
	// the host are replaced: see savedArgs.
	Args []string `json:"args"`

	// MachineType is the versioned type that Machine stood for. It is not
	// compared: the machine resumes with it.
	MachineType string `json:"machine_type"`
	// Agent and Cards are the channel of an agent and the network cards that the machine
	// was saved with.
	Agent bool   `json:"agent"`
	Cards []Card `json:"cards"`
}

// fields are the names of a Fingerprint's fields in errors. Args has most of their values,
// too, and comes last: the error for a field is clearer.
var fields = []struct{ field, name string }{
	{"QEMU", "QEMU"},
	{"QEMUBuild", "the build of QEMU"},
	{"Accelerator", "the accelerator"},
	{"HostCPU", "the host's processor"},
	{"Arch", "arch"},
	{"Machine", "machine"},
	{"CPUModel", "cpu_model"},
	{"CPUs", "cpus"},
	{"Memory", "memory"},
	{"Firmware", "the UEFI firmware (SHA-256)"},
	{"Kernel", "the kernel (SHA-256)"},
	{"Initrd", "the initrd (SHA-256)"},
}

// A MismatchError says why a machine cannot resume here.
type MismatchError struct {
	Field       string // the name of the field that differs
	Saved, Here string // its values
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("the snapshot was saved with another environment: %s was %s and is %s here; build the snapshot again where it is used, or set on_mismatch = \"boot\"",
		e.Field, e.Saved, e.Here)
}

// Compare returns a MismatchError for the first field that differs.
func (saved *Fingerprint) Compare(here *Fingerprint) error {
	s, h := reflect.ValueOf(saved).Elem(), reflect.ValueOf(here).Elem()
	for _, f := range fields {
		a, b := s.FieldByName(f.field).Interface(), h.FieldByName(f.field).Interface()
		if a != b {
			return &MismatchError{f.name, fmt.Sprintf("%#v", a), fmt.Sprintf("%#v", b)}
		}
	}
	i := 0
	for i < min(len(saved.Args), len(here.Args)) && saved.Args[i] == here.Args[i] {
		i++
	}
	if i < max(len(saved.Args), len(here.Args)) {
		return &MismatchError{"the first QEMU argument that differs", quoteArg(saved.Args, i), quoteArg(here.Args, i)}
	}
	return nil
}

// quoteArg returns the argument with an index as errors show it: an option with its value.
func quoteArg(args []string, i int) string {
	isOption := func(i int) bool { return strings.HasPrefix(args[i], "-") }
	switch {
	case i >= len(args):
		return "missing"
	case isOption(i) && i+1 < len(args) && !isOption(i+1):
		return strconv.Quote(args[i] + " " + args[i+1])
	case !isOption(i) && i > 0:
		return strconv.Quote(args[i-1] + " " + args[i])
	}
	return strconv.Quote(args[i])
}

// Facts are the part of a Fingerprint that the description does not have.
type Facts struct {
	QEMU, QEMUBuild, Accelerator, HostCPU string
	Firmware, Kernel, Initrd              string // SHA-256
	// QEMUArgs are those of the description, with the digest of each file or folder in
	// place of its path.
	QEMUArgs []machine.Argument
}

// NewFingerprint returns the fingerprint of a machine, without the part that only a
// running QEMU knows.
func NewFingerprint(c *machine.Config, facts *Facts, agent bool, cards []Card) (*Fingerprint, error) {
	args, err := savedArgs(c, facts, agent, cards)
	if err != nil {
		return nil, err
	}
	return &Fingerprint{
		QEMU: facts.QEMU, QEMUBuild: facts.QEMUBuild, Accelerator: facts.Accelerator, HostCPU: facts.HostCPU,
		Arch: c.Arch, Machine: c.Machine, CPUModel: c.CPUModel, CPUs: c.CPUs, Memory: c.Memory,
		Firmware: facts.Firmware, Kernel: facts.Kernel, Initrd: facts.Initrd,
		Args: args, Agent: agent, Cards: cards,
	}, nil
}

// savedArgs returns the arguments with which a machine resumes on any host: files have
// their digests or fixed names in place of their paths, and the folders of -L and the
// host's side of forwarded ports are left out.
func savedArgs(c *machine.Config, facts *Facts, agent bool, cards []Card) ([]string, error) {
	anywhere := *c
	anywhere.DataDirs = nil
	anywhere.UEFICode, anywhere.Kernel, anywhere.Initrd, anywhere.QEMUArgs = facts.Firmware, facts.Kernel, facts.Initrd, facts.QEMUArgs
	anywhere.ForwardPorts = slices.Clone(c.ForwardPorts)
	for i, forward := range c.ForwardPorts {
		protocol, _, guest := splitForward(forward)
		anywhere.ForwardPorts[i] = protocol + ":" + guest
	}
	s := &Setup{
		Accelerator: facts.Accelerator, Layers: make([]string, len(c.Disks)), RAM: RAM{Path: "ram"},
		Resumes: true, Console: Recorded, Agent: agent, Cards: cards,
	}
	if len(c.Files) > 0 {
		s.Files = "files"
	}
	if agent && c.AgentOnDisk() {
		s.AgentDisk = "agent"
	}
	plan, err := Make(&anywhere, s)
	if err != nil {
		return nil, err
	}
	return plan.Args, nil
}
