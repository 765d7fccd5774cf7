package machine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Suffix follows the path of a target's executable in the path of its description.
const Suffix = ".vm.json"

// Read reads the machine in the file that a rule has written next to the executable of its
// target, and locates its files: see Locate. The other keys of the file are the runner's.
func Read(executable string, locate func(path string) (string, error)) (*Config, error) {
	path := executable + Suffix
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is not a qemu_vm: %s does not exist", executable, path)
	} else if err != nil {
		return nil, err
	}
	var target struct {
		Machine json.RawMessage `json:"machine"`
	}
	if err := json.Unmarshal(b, &target); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if target.Machine == nil {
		return nil, fmt.Errorf("%s: the key \"machine\" is missing; %s", path, buildAgain)
	}
	c := &Config{}
	if err := decode(path, target.Machine, c); err != nil {
		return nil, err
	}
	return c, c.Locate(locate)
}

// ReadJSON reads a file that a rule has written. A key that into does not have is an error:
// its value would be ignored.
func ReadJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return decode(path, b, into)
}

// buildAgain is what to do about a file of another release.
const buildAgain = "build the target again, with its rules and programs from one release of rules_qcow2"

// decode decodes JSON from the file at path.
func decode(path string, b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		return nil
	}
	// Package json has no type for this error.
	if key, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("%s: the key %s is unknown; %s", path, key, buildAgain)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// Locate replaces each path of the machine, and those of further files, by the result of
// locate, made absolute. It fails if a file does not exist.
func (c *Config) Locate(locate func(path string) (string, error), further ...*string) error {
	for _, path := range append(c.paths(), further...) {
		if err := locateFile(path, locate); err != nil {
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

// locateFile replaces *path, unless it is empty.
func locateFile(path *string, locate func(path string) (string, error)) error {
	if *path == "" {
		return nil
	}
	located, err := locate(*path)
	if err != nil {
		return fmt.Errorf("the runfiles do not have %s, a file of the machine: %w; run the target with bazel, and name the machine in data of a target that uses it", *path, err)
	}
	// QEMU's command line must hold in any working directory.
	if *path, err = filepath.Abs(located); err != nil {
		return err
	}
	if _, err := os.Stat(*path); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s, a file of the machine, does not exist; build the target with its runfiles, and name the machine in data of a target that uses it", *path)
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
	for _, arg := range c.QEMUArgs {
		for i := 1; i < len(arg); i += 2 {
			paths = append(paths, &arg[i])
		}
	}
	for i := range c.Files {
		paths = append(paths, &c.Files[i].Path)
	}
	return paths
}
