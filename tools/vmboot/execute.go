package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/rules-qcow2/rules_qcow2/go/vm"
)

// execute boots the machine, runs a command in the guest and ends with its exit
// status: bazel run :vm -- exec -- uname -a.
func execute(c *config, args []string) (err error) {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return errors.New("exec needs a command, as in: exec -- uname -a")
	}
	ctx, cancel := untilSignal(context.Background())
	defer cancel()
	dir, err := os.MkdirTemp("", "vm")
	if err != nil {
		return err
	}
	status := 0
	defer func() {
		if err = errors.Join(err, os.RemoveAll(dir)); err == nil {
			os.Exit(status)
		}
	}()
	m, err := vm.Start(ctx, &c.Config, vm.Options{Dir: dir, FailOn: vm.DefaultFailOn, Agent: true})
	if err != nil {
		return err
	}
	defer m.Close()
	result, err := m.Exec(ctx, vm.Command{Args: args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
	if err != nil {
		return fmt.Errorf("%q: %w", args, err)
	}
	if status = result.ExitStatus; result.Signal != 0 {
		status = 128 + int(result.Signal) // as a shell reports it
	}
	return nil
}
