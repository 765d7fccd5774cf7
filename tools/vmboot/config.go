package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
)

// A config is the file that a rule writes: a machine, and the expectations of a test.
type config struct {
	vm.Config

	Expect     []string `json:"expect"`
	FailOn     []string `json:"fail_on"`
	ExitStatus *int     `json:"exit_status"` // nil if the guest need not end
	TimeLimit  int      `json:"time_limit"`  // in seconds; 0 for Bazel's

	RunWhileUp string `json:"run_while_up"` // "" for none
	RunAfter   string `json:"run_after"`

	Interactive bool `json:"interactive"`

	// GuestTest is the test of a qemu_guest_test; nil for others.
	GuestTest *guestTest `json:"guest_test"`

	// Runfiles is the rlocation path of a file with the machine's own runfiles: their
	// rlocation paths, one in a line.
	Runfiles string `json:"runfiles"`
}

// load reads a JSON file. With an error, the config has as much as could
// be read.
func load(file string) (*config, error) {
	c := &config{Config: vm.Config{Target: file}}
	b, err := os.ReadFile(file)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(b, c); err != nil {
		return c, fmt.Errorf("%s: %w", file, err)
	}
	if err := locate(&c.Config); err != nil {
		return c, err
	}
	for _, program := range []*string{&c.RunWhileUp, &c.RunAfter} {
		if err := vm.LocateFile(program, runfiles.Rlocation); err != nil {
			return c, err
		}
	}
	if _, err := vm.Compile("expect", c.Expect); err != nil {
		return c, err
	}
	if _, err := vm.Compile("fail_on", c.FailOn); err != nil {
		return c, err
	}
	// The guest sets QEMU's exit status with this device.
	c.DebugExit = c.ExitStatus != nil && *c.ExitStatus != 0
	return c, nil
}

// locate finds the files of a machine among the runfiles.
func locate(c *vm.Config) error {
	r, err := runfiles.New()
	if err != nil {
		return fmt.Errorf("runfiles: %w", err)
	}
	return c.Locate(r.Rlocation)
}
