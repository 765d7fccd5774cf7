package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
	"github.com/rules-qcow2/rules_qcow2/internal/tty"
)

// execute boots the machine, runs a command in the guest and ends with its exit
// status: bazel run :vm -- exec -- uname -a.
func execute(c *config, args []string) error {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return errors.New("exec needs a command, as in: exec -- uname -a")
	}
	return inNewGuest(c, vm.Command{Args: args}, func(ctx context.Context, client *agent.Client, cmd vm.Command) (vm.Result, error) {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		return client.Run(ctx, cmd)
	})
}

// shell boots the machine and runs the user's shell, or a program, on this process's
// terminal: bazel run :vm -- shell.
func shell(c *config, args []string) error {
	var cmd vm.Command
	flags := flag.NewFlagSet("shell", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&cmd.User, "u", "", "")
	flags.StringVar(&cmd.Dir, "C", "", "")
	flags.Func("e", "", func(variable string) error { cmd.Env = append(cmd.Env, variable); return nil })
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("shell: %w; it takes [-u USER] [-C DIR] [-e KEY=VALUE]... [--] [PROGRAM [ARGUMENT]...]", err)
	}
	cmd.Args = flags.Args()
	cmd.Shell = len(cmd.Args) == 0
	return inNewGuest(c, cmd, func(ctx context.Context, client *agent.Client, cmd vm.Command) (vm.Result, error) {
		p, restore, err := startOnTerminal(ctx, client, cmd)
		if err != nil {
			return vm.Result{}, err
		}
		defer restore()
		return p.Wait()
	})
}

// startOnTerminal starts a command with this process's standard files: with a terminal of its
// own if they are a terminal. restore gives that back its settings after the end.
func startOnTerminal(ctx context.Context, client *agent.Client, cmd vm.Command) (p *agent.Process, restore func(), err error) {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	terminal := tty.Open(os.Stdin, os.Stdout)
	if terminal == nil {
		p, err = client.Start(ctx, cmd)
		return p, func() {}, err
	}
	started := make(chan struct{})
	defer close(started) // with p
	restore, err = terminal.Raw(func(rows, columns int) {
		<-started
		if p != nil {
			p.Resize(agent.Terminal{Rows: rows, Columns: columns}) // an error shows in Wait
		}
	})
	if err != nil {
		return nil, nil, err
	}
	rows, columns := terminal.Size()
	cmd.Terminal = &agent.Terminal{Rows: rows, Columns: columns}
	cmd.Env = append([]string{"TERM=" + os.Getenv("TERM")}, cmd.Env...)
	if p, err = client.Start(ctx, cmd); err != nil {
		restore()
	}
	return p, restore, err
}

// inNewGuest boots the machine, runs a command there, and ends with its exit status.
func inNewGuest(c *config, cmd vm.Command, run func(context.Context, *agent.Client, vm.Command) (vm.Result, error)) (err error) {
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
	client, err := m.Agent(ctx)
	if err != nil {
		return err
	}
	result, err := run(ctx, client, cmd)
	if err != nil && !cmd.Shell {
		return fmt.Errorf("%q: %w", cmd.Args, m.Explain(err))
	} else if err != nil {
		return m.Explain(err)
	}
	if status = result.ExitStatus; result.Signal != 0 {
		status = 128 + int(result.Signal) // as a shell reports it
	}
	return nil
}
