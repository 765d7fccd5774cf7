package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Suffix follows the path of a target's executable in the path of its description.
const Suffix = ".vm.json"

// Read reads the description that a rule has written next to the executable of its
// target, and locates its files: see Locate.
func Read(executable string, locate func(path string) (string, error)) (*Config, error) {
	c := &Config{}
	err := ReadJSON(executable+Suffix, c)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is not a qemu_vm: %[1]s%s does not exist", executable, Suffix)
	} else if err != nil {
		return nil, err
	}
	return c, c.Locate(locate)
}

// ReadJSON reads a file that a rule has written.
func ReadJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
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
