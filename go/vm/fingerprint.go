package vm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync"
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
	// Agent and Cards are those of Snapshot.
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

// compare returns a MismatchError for the first field that differs.
func (saved *Fingerprint) compare(here *Fingerprint) error {
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

// fingerprint returns the fingerprint of a machine, without the part that only a
// running QEMU knows. It runs QEMU for its version.
func (c *Config) fingerprint(accelerator string, agent bool, cards []Card) (*Fingerprint, error) {
	devices, err := c.devices(agent, cards)
	if err != nil {
		return nil, err
	}
	f := &Fingerprint{
		Accelerator: accelerator, Arch: c.Arch, Machine: c.Machine, CPUModel: c.CPUModel,
		CPUs: c.CPUs, Memory: c.Memory, Devices: devices, Agent: agent, Cards: cards,
	}
	if accelerator == "kvm" {
		cpu, err := hostCPU(thisHost().cpuinfo)
		if err != nil {
			return nil, err
		}
		f.HostCPU = cpu
	}
	var wait sync.WaitGroup
	var errs [4]error
	wait.Add(4)
	go func() {
		defer wait.Done()
		f.QEMU, errs[0] = qemuVersion(c.QEMU)
	}()
	go func() {
		defer wait.Done()
		f.Kernel, errs[1] = digest(c.Kernel)
	}()
	go func() {
		defer wait.Done()
		f.Initrd, errs[2] = digest(c.Initrd)
	}()
	go func() {
		defer wait.Done()
		f.Firmware, errs[3] = digest(c.UEFICode)
	}()
	wait.Wait()
	return f, errors.Join(errs[:]...)
}

// devices returns the values of the arguments -device, in order.
func (c *Config) devices(agent bool, cards []Card) ([]string, error) {
	p := &prepared{layers: make([]string, len(c.Disks)), ram: "ram"}
	if len(c.Files) > 0 {
		p.files = "files"
	}
	if agent && c.onDisk() {
		p.agentDisk = "agent"
	}
	given, err := c.args("", p)
	if err != nil {
		return nil, err
	}
	args := arguments(given)
	if agent {
		c.addAgent(&args, "null,id=agent")
	}
	for i, card := range cards {
		c.addLink(&args, i, 0, card.MAC)
	}
	var devices []string
	for i, arg := range args {
		if arg == "-device" && i+1 < len(args) {
			devices = append(devices, args[i+1])
		}
	}
	return devices, nil
}

// qemuVersion returns the version that QEMU prints.
func qemuVersion(program string) (string, error) {
	out, err := exec.Command(program, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", program, err)
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	return strings.TrimPrefix(string(line), "QEMU emulator version "), nil
}

// qemuAtLeast reports whether a version of QEMU is not older than another.
func qemuAtLeast(version string, major, minor int) bool {
	var haveMajor, haveMinor int
	fmt.Sscanf(version, "%d.%d", &haveMajor, &haveMinor)
	return haveMajor > major || haveMajor == major && haveMinor >= minor
}

// digest returns the SHA-256 of a file, "" for the path "".
func digest(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hostCPU describes the host's first processor: its model, and a digest of its
// features.
func hostCPU(cpuinfo string) (string, error) {
	b, err := os.ReadFile(cpuinfo)
	if err != nil {
		return "", fmt.Errorf("the host's processor: %w", err)
	}
	first, _, _ := strings.Cut(string(b), "\n\n")
	model, h := "", sha256.New()
	for line := range strings.Lines(first) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name":
			model = strings.TrimSpace(value)
		case "vendor_id", "cpu family", "model", "stepping", "microcode", "flags", "Features", "CPU implementer", "CPU part", "CPU revision":
			io.WriteString(h, line)
		}
	}
	return strings.TrimSpace(fmt.Sprintf("%s %x", model, h.Sum(nil)[:4])), nil
}

// resolve returns the machine as it starts here. If it cannot resume and
// OnMismatch is "boot", mismatch says why and the machine boots.
func (c *Config) resolve() (resolved *Config, mismatch *MismatchError, err error) {
	if c.Snapshot == nil || c.Snapshot.fingerprint != nil {
		return c, nil, nil
	}
	resolved, err = c.pinned()
	if errors.As(err, &mismatch) && c.Snapshot.OnMismatch == "boot" {
		cold := *c
		cold.Snapshot = nil
		return &cold, mismatch, nil
	}
	return resolved, nil, err
}

// pinned returns the machine that resumes here: with the snapshot's fingerprint,
// accelerator and machine type. A MismatchError says why it cannot.
func (c *Config) pinned() (*Config, error) {
	b, err := os.ReadFile(c.Snapshot.Fingerprint)
	if err != nil {
		return nil, err
	}
	saved := &Fingerprint{}
	if err := json.Unmarshal(b, saved); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Snapshot.Fingerprint, err)
	}
	pinned, snapshot := *c, *c.Snapshot
	pinned.Snapshot, snapshot.fingerprint = &snapshot, saved
	accelerator := c.Accel
	if accelerator == "auto" && saved.Accelerator == "tcg" {
		accelerator = "tcg" // every host has it
	}
	if accelerator, err = thisHost().choose(accelerator, c.Arch); err != nil {
		return nil, err
	}
	here, err := c.fingerprint(accelerator, saved.Agent, saved.Cards)
	if err != nil {
		return nil, err
	}
	if c.Initrd == "" { // it is not needed to resume
		here.Initrd = saved.Initrd
	}
	if err := saved.compare(here); err != nil {
		return nil, err
	}
	pinned.Accel = accelerator
	_, options, _ := strings.Cut(c.Machine, ",")
	pinned.Machine = saved.MachineType
	if options != "" {
		pinned.Machine += "," + options
	}
	return &pinned, nil
}
