// Command vmboot runs QEMU for the rules: the machine of a qemu_boot_test,
// qemu_guest_test or qemu_vm, which the file with its own name and the suffix ".vm.json"
// describes.
//
// With save-for-build and unpack-for-build it is a build action of a qemu_snapshot, with
// layer-for-build that of a qcow2_layer.
//
// A boot test's arguments are passed to its hooks. With --interactive first, or
// for a qemu_vm, the machine runs on the terminal: --keep keeps the guest's
// writes, and further arguments are QEMU's. With --hold, the guest of a qemu_guest_test that
// fails stays until somebody has looked at it. A qemu_vm with exec or shell runs a command in
// the guest.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/rules-qcow2/rules_qcow2/internal/onterminal"
)

func main() {
	target, err := runTarget(os.Args[0], os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", target, err)
		os.Exit(1)
	}
}

// runTarget runs the target whose executable is program, and returns its label.
func runTarget(program string, args []string) (target string, err error) {
	if isBuildAction(args) {
		return buildActions[args[0]](args[1])
	}
	if isUnpack(args) {
		return args[0], unpackRAM(args[2], args[1])
	}
	c, err := load(program + ".vm.json")
	if err == nil {
		err = run(c, args)
	}
	return c.Target, err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func run(c *config, args []string) error {
	if c.Interactive && c.GuestTest == nil {
		c.GuestTest = underGuestTest(args)
		if c.GuestTest != nil {
			args = args[1:]
		}
	}
	if c.GuestTest != nil {
		return runInGuest(c, args)
	}
	if c.Interactive && len(args) > 0 && args[0] == "exec" {
		return execute(c, args[1:])
	}
	if c.Interactive && len(args) > 0 && args[0] == "shell" {
		return shell(c, args[1:])
	}
	keep, interactive := false, c.Interactive
	for len(args) > 0 && (args[0] == "--keep" || args[0] == "--interactive") {
		keep = keep || args[0] == "--keep"
		interactive = interactive || args[0] == "--interactive"
		args = args[1:]
	}
	if interactive {
		return interact(c, args, keep)
	}
	if keep {
		return errors.New("--keep needs --interactive: a test removes the guest's writes; use run_after to inspect them")
	}
	return test(c, args)
}

func interact(c *config, args []string, keep bool) (err error) {
	dir, err := os.MkdirTemp("", "vm")
	if err != nil {
		return err
	}
	defer func() {
		if keep {
			fmt.Fprintf(os.Stderr, "%s: the guest's writes are kept in %s\n", c.Target, dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	return onterminal.Run(&c.Config, dir, args, os.Stderr)
}
