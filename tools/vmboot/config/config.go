// Package config reads what a rule wrote about a machine.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

// A Config is a machine, and what a test expects of it. Paths are those of the
// runfiles in the file, and of the file system once it is read.
type Config struct {
	Target string `json:"target"` // label of the rule's target

	QEMU    string   `json:"qemu"`     // the system emulator
	QEMUImg string   `json:"qemu_img"` // "" if the toolchain has none
	Data    []string `json:"data"`     // folders for -L; in the file also what is in one

	Arch    string `json:"arch"`
	Machine string `json:"machine"`
	CPU     string `json:"cpu"`
	CPUs    int    `json:"cpus"`
	Memory  string `json:"memory"` // as -m takes it
	Accel   string `json:"accel"`  // auto, kvm or tcg

	UEFICode string `json:"uefi_code"` // "" for the machine's own firmware
	UEFIVars string `json:"uefi_vars"`

	Kernel string `json:"kernel"` // "" to boot from a disk
	Initrd string `json:"initrd"`
	Append string `json:"append"`

	Disks   []Disk   `json:"disks"`
	Files   []File   `json:"files"` // in a disk of their own
	Network string   `json:"network"`
	Forward []string `json:"forward"`
	Display bool     `json:"display"`
	Args    []string `json:"args"` // further ones, as they are

	Expect     []string `json:"expect"`
	FailOn     []string `json:"fail_on"`
	ExitStatus *int     `json:"exit_status"` // nil for a machine that need not end by itself
	TimeLimit  int      `json:"time_limit"`  // in seconds; 0 for Bazel's

	RunWhileUp string `json:"run_while_up"` // "" for none
	RunAfter   string `json:"run_after"`

	Interactive bool `json:"interactive"`
}

// A Disk is an image, and how the guest sees it.
type Disk struct {
	Path      string `json:"path"`
	Format    string `json:"format"`    // "" to look at the first bytes
	Interface string `json:"interface"` // virtio, nvme, ide or scsi
	Options   string `json:"options"`   // properties of the device, as -device takes them
}

// A File is one that the guest finds under Name.
type File struct {
	Path string `json:"path"`
	Name string `json:"name"`
}

// Load reads the file at path. With an error the config has as much as could be
// read.
func Load(path string) (*Config, error) {
	c := &Config{Target: path}
	b, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(b, c); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	if err := c.locate(); err != nil {
		return c, err
	}
	for _, list := range []struct {
		attribute string
		patterns  []string
	}{{"expect", c.Expect}, {"fail_on", c.FailOn}} {
		for _, pattern := range list.patterns {
			if _, err := regexp.Compile(pattern); err != nil {
				return c, fmt.Errorf("%s: %q is no regular expression of Go's syntax: %w", list.attribute, pattern, err)
			}
		}
	}
	return c, nil
}

// locate replaces the paths of runfiles, all of which have to be there.
func (c *Config) locate() error {
	r, err := runfiles.New()
	if err != nil {
		return fmt.Errorf("runfiles: %w", err)
	}
	for _, path := range c.paths() {
		if *path == "" {
			continue
		}
		located, err := r.Rlocation(*path)
		if err != nil {
			return fmt.Errorf("%s is missing: %w", *path, err)
		}
		// QEMU's command line is to hold wherever it is run.
		if *path, err = filepath.Abs(located); err != nil {
			return err
		}
		if _, err := os.Stat(*path); errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s is missing", *path)
		} else if err != nil {
			return err
		}
	}
	for i, path := range c.Data {
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			c.Data[i] = filepath.Dir(path)
		}
	}
	return nil
}

func (c *Config) paths() []*string {
	paths := []*string{
		&c.QEMU, &c.QEMUImg, &c.UEFICode, &c.UEFIVars,
		&c.Kernel, &c.Initrd, &c.RunWhileUp, &c.RunAfter,
	}
	for i := range c.Data {
		paths = append(paths, &c.Data[i])
	}
	for i := range c.Disks {
		paths = append(paths, &c.Disks[i].Path)
	}
	for i := range c.Files {
		paths = append(paths, &c.Files[i].Path)
	}
	return paths
}
