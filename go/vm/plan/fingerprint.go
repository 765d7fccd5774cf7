package plan

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
)

// A Fingerprint has everything that must be the same where a machine was saved and
// where it resumes. QEMU itself checks only a part of it.
type Fingerprint struct {
	QEMU        string   `json:"qemu"`               // as in "7.2.22 (Debian 1:7.2+dfsg-7)"
	Accelerator string   `json:"accelerator"`        // kvm or tcg
	HostCPU     string   `json:"host_cpu,omitempty"` // with kvm
	Arch        string   `json:"arch"`
	Machine     string   `json:"machine"`   // as in the Config
	CPUModel    string   `json:"cpu_model"` // as in the Config
	CPUs        int      `json:"cpus"`
	Memory      string   `json:"memory"`
	Firmware    string   `json:"firmware,omitempty"` // SHA-256 of the UEFI code
	Kernel      string   `json:"kernel,omitempty"`   // SHA-256
	Initrd      string   `json:"initrd,omitempty"`   // SHA-256
	Devices     []string `json:"devices"`            // the values of -device, in order

	// MachineType is the versioned type that Machine stood for. It is not
	// compared: the machine resumes with it.
	MachineType string `json:"machine_type"`
	// Agent and Cards are the channel of an agent and the network cards that the machine
	// was saved with.
	Agent bool   `json:"agent"`
	Cards []Card `json:"cards"`
}

// fields are the names of a Fingerprint's fields in errors.
var fields = []struct{ field, name string }{
	{"QEMU", "QEMU"},
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
	{"Devices", "the list of devices"},
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
		if !reflect.DeepEqual(a, b) {
			return &MismatchError{f.name, quoteField(a), quoteField(b)}
		}
	}
	return nil
}

func quoteField(value any) string {
	if list, ok := value.([]string); ok {
		return fmt.Sprintf("%q", strings.Join(list, " "))
	}
	return fmt.Sprintf("%#v", value)
}

// Facts are the part of a Fingerprint that the description does not have.
type Facts struct {
	QEMU, Accelerator, HostCPU string
	Firmware, Kernel, Initrd   string // SHA-256
}

// NewFingerprint returns the fingerprint of a machine, without the part that only a
// running QEMU knows.
func NewFingerprint(c *machine.Config, facts Facts, agent bool, cards []Card) (*Fingerprint, error) {
	devices, err := Devices(c, agent, cards)
	if err != nil {
		return nil, err
	}
	return &Fingerprint{
		QEMU: facts.QEMU, Accelerator: facts.Accelerator, HostCPU: facts.HostCPU,
		Arch: c.Arch, Machine: c.Machine, CPUModel: c.CPUModel, CPUs: c.CPUs, Memory: c.Memory,
		Firmware: facts.Firmware, Kernel: facts.Kernel, Initrd: facts.Initrd,
		Devices: devices, Agent: agent, Cards: cards,
	}, nil
}
