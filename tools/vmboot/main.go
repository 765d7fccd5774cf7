// Command vmboot runs the machine that a qemu_boot_test or qemu_vm declares.
//
// The machine is in the file beside the program that has the same name and
// ".vm.json" behind it. As a test it is watched; with --interactive it is
// connected to the terminal, where --keep keeps what the guest writes, and
// further arguments are QEMU's.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/boot"
	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/config"
	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/outputs"
	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/scratch"
)

func init() {
	// QEMU is to die with the thread that starts it: this is the one that
	// lives as long as the process.
	runtime.LockOSThread()
}

func main() {
	c, err := config.Load(os.Args[0] + ".vm.json")
	if err == nil {
		err = run(c, os.Args[1:])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", c.Target, err)
		os.Exit(1)
	}
}

func run(c *config.Config, args []string) error {
	keep, interactive := false, c.Interactive
	for len(args) > 0 && (args[0] == "--keep" || args[0] == "--interactive") {
		keep = keep || args[0] == "--keep"
		interactive = interactive || args[0] == "--interactive"
		args = args[1:]
	}
	if interactive {
		return boot.Interactive(c, args, keep)
	}
	if len(args) > 0 || keep {
		return fmt.Errorf("arguments %q are for --interactive, a test takes none", os.Args[1:])
	}
	return test(c)
}

func test(c *config.Config) (err error) {
	limit, err := timeLimit(c.TimeLimit, os.Getenv("TEST_TIMEOUT"))
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)

	dir, err := scratch.New(os.Getenv("TEST_TMPDIR"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Remove()) }()
	folder := os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR")
	if folder == "" {
		if folder, err = os.MkdirTemp("", "vmboot-outputs"); err != nil {
			return err
		}
		fmt.Printf("console.log and the like are in %s\n", folder)
	}
	out, err := outputs.Open(folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()

	machine, script, err := boot.Prepare(c, dir)
	if err != nil {
		return err
	}
	if err := out.Write("command", script.String()); err != nil {
		return err
	}
	err = boot.Run(machine, boot.Options{Outputs: out, Scratch: dir.Path, Limit: limit, Signals: signals})
	if err != nil {
		return err
	}
	return boot.RunAfter(machine, out.Console.Name())
}

// timeLimit returns how long a machine may run: as long as its target says, and
// not so long that Bazel, which gives a test testTimeout seconds, would end the
// test before it could say why.
func timeLimit(own int, testTimeout string) (time.Duration, error) {
	limit := time.Duration(own) * time.Second
	if testTimeout == "" {
		return limit, nil
	}
	seconds, err := strconv.Atoi(testTimeout)
	if err != nil || seconds < 1 {
		return 0, fmt.Errorf("TEST_TIMEOUT is %q, allowed is a number of seconds", testTimeout)
	}
	bazels := time.Duration(seconds) * time.Second
	bazels -= min(max(bazels/10, 2*time.Second), 15*time.Second, bazels/2)
	if limit == 0 || limit > bazels {
		return bazels, nil
	}
	return limit, nil
}
