package main

import (
	"fmt"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/internal/patterns"
)

// A config is the file that a rule writes: a machine, and the expectations of a test.
type config struct {
	machine.Config `json:"machine"`

	Expect     []string `json:"expect"`
	FailOn     []string `json:"fail_on"`
	ExitStatus *int     `json:"exit_status"` // nil if the guest need not end
	TimeLimit  int      `json:"time_limit"`  // in seconds; 0 for Bazel's

	RunWhileUp string `json:"run_while_up"` // "" for none
	RunAfter   string `json:"run_after"`
	VM         string `json:"vm"` // the program vm for RunWhileUp; "" without that

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
	c := &config{Config: machine.Config{Target: file}}
	if err := machine.ReadJSON(file, c); err != nil {
		return c, err
	}
	if err := locate(&c.Config, &c.RunWhileUp, &c.RunAfter, &c.VM); err != nil {
		return c, err
	}
	if _, err := patterns.Compile("expect", c.Expect); err != nil {
		return c, err
	}
	if _, err := patterns.Compile("fail_on", c.FailOn); err != nil {
		return c, err
	}
	// The guest sets QEMU's exit status with this device.
	c.DebugExit = c.ExitStatus != nil && *c.ExitStatus != 0
	return c, nil
}

// locate finds the files of a machine, and further ones, among the runfiles.
func locate(c *machine.Config, further ...*string) error {
	r, err := runfiles.New()
	if err != nil {
		return fmt.Errorf("runfiles: %w", err)
	}
	return c.Locate(r.Rlocation, further...)
}
