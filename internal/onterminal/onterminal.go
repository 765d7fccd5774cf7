// Package onterminal runs machines for `bazel run`. It keeps a part of go/vm out of the
// interface for tests.
package onterminal

import (
	"io"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
)

// Run runs a machine on this process's terminal until it ends or the user
// leaves it, with further arguments for QEMU. Before the guest starts, it
// writes to messages how to leave and which ports are forwarded. The machine
// writes to dir, as vm.Options.Dir says.
//
// Package vm sets it.
var Run func(c *machine.Config, dir string, args []string, messages io.Writer) error
