package vm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

	Disks        []Disk   `json:"disks"`
	Files        []File   `json:"files"`       // on a read-only FAT disk
	FilesLabel   string   `json:"files_label"` // volume label of that disk
	Network      string   `json:"network"`     // none or user
	ForwardPorts []string `json:"forward_ports"`
	Display      bool     `json:"display"`
	QEMUArgs     []string `json:"qemu_args"` // appended to QEMU's command line

	// Agent says how the agent gets into the guest: AgentInitrd and so on. The
	// empty string is AgentNone.
	Agent string `json:"agent"`
	// AgentProgram is the path of the agent for the guest's architecture.
	AgentProgram string `json:"agent_program"`
	// AgentChannel is virtio, the default, or serial: a second 16550 port, for
	// guests without a driver for virtio-serial.
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

// Locate replaces each path by the result of locate, made absolute. It fails if
// a file does not exist.
func (c *Config) Locate(locate func(path string) (string, error)) error {
	for _, path := range c.paths() {
		if err := LocateFile(path, locate); err != nil {
			return err
		}
	}
	for i, path := range c.DataDirs {
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			c.DataDirs[i] = filepath.Dir(path)
		}
	}
	return nil
}

// LocateFile replaces *path, unless it is empty, by the result of locate, made
// absolute. It fails if the file does not exist.
func LocateFile(path *string, locate func(path string) (string, error)) error {
	if *path == "" {
		return nil
	}
	located, err := locate(*path)
	if err != nil {
		return fmt.Errorf("%s is missing: %w", *path, err)
	}
	// QEMU's command line must hold in any working directory.
	if *path, err = filepath.Abs(located); err != nil {
		return err
	}
	if _, err := os.Stat(*path); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is missing", *path)
	} else if err != nil {
		return err
	}
	return nil
}

func (c *Config) paths() []*string {
	paths := []*string{&c.QEMU, &c.QEMUImg, &c.UEFICode, &c.UEFIVars, &c.Kernel, &c.Initrd, &c.AgentProgram}
	for i := range c.DataDirs {
		paths = append(paths, &c.DataDirs[i])
	}
	for i := range c.Disks {
		paths = append(paths, &c.Disks[i].Path)
	}
	if s := c.Snapshot; s != nil {
		paths = append(paths, &s.RAM, &s.State, &s.UEFIVars, &s.Fingerprint)
		for i := range s.Layers {
			paths = append(paths, &s.Layers[i])
		}
	}
	for i := range c.Files {
		paths = append(paths, &c.Files[i].Path)
	}
	return paths
}
