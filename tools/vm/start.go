package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/control"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
)

// serveCommand is the command by which start runs itself in the background.
const serveCommand = "serve-for-start"

// readyFD is the descriptor on which serve answers start.
const readyFD = 3

// start runs a machine in the background and prints the path of its socket once
// its agent answers. The machine ends with the program that ran vm: see findCaller.
func start(ctx context.Context, args []string) error {
	o, args, err := parse("start", "t", args)
	if err != nil {
		return err
	}
	if len(args) != 1 {
		return fmt.Errorf("start: got %d arguments, want the path of one target; see vm -h", len(args))
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	ready, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	caller, err := findCaller()
	if err != nil {
		return err
	}
	// The background process must not keep the caller's standard files open: a
	// caller may wait until they are closed.
	crash, err := os.CreateTemp("", "vm")
	if err != nil {
		return err
	}
	defer crash.Close()
	if err := os.Remove(crash.Name()); err != nil {
		return err
	}
	cmd := exec.Command(program, serveCommand, args[0], strconv.Itoa(caller), o.limit.String())
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = crash
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { cmd.Process.Signal(syscall.SIGTERM) })()
	answer, err := io.ReadAll(ready)
	if err != nil {
		return err
	}
	socket, ok := strings.CutPrefix(string(answer), readyPrefix)
	if !ok {
		ended := cmd.Wait()
		if len(answer) == 0 {
			text, _ := io.ReadAll(io.NewSectionReader(crash, 0, maxCrash))
			return fmt.Errorf("start: the process that runs the machine ended without an answer: %v\n%s", ended, strings.TrimSpace(string(text)))
		}
		return fmt.Errorf("start: %s", strings.TrimSpace(string(answer)))
	}
	fmt.Println(socket)
	return nil
}

// maxCrash bounds, in bytes, the messages of a process that crashed.
const maxCrash = 8 << 10

// readyPrefix begins the answer of serve if the machine runs: the path of its
// socket follows. Any other answer is an error.
const readyPrefix = "ready: "

// serve runs a machine for start.
func serve(ctx context.Context, args []string) error {
	ready := os.NewFile(readyFD, "ready")
	err := serveMachine(ctx, args, ready)
	if err != nil {
		io.WriteString(ready, err.Error())
	}
	ready.Close()
	return err
}

// serveMachine runs a machine until it ends, a signal comes, or the process that
// it serves has ended. It answers on ready once the agent answers.
func serveMachine(ctx context.Context, args []string, ready *os.File) (err error) {
	if len(args) != 3 {
		return errors.New("this command is for vm start")
	}
	client, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	limit, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	config, err := machine.Read(args[0], runfiles.Rlocation)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(os.Getenv("TEST_TMPDIR"), "vm")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	logs, err := logDir(config)
	if err != nil {
		return err
	}
	ctx, stop, closeTimeout, err := untilDeadline(ctx, client)
	if err != nil {
		return err
	}
	defer stop()
	m, err := vm.Start(ctx, config, vm.Options{Dir: dir, Logs: logs, FailOn: vm.DefaultFailOn, Agent: true, CloseTimeout: closeTimeout})
	if err != nil {
		return fmt.Errorf("%s: %w", config.Target, err)
	}
	defer m.Close()
	agentCtx, cancel := ctx, func() {}
	if limit > 0 {
		agentCtx, cancel = context.WithTimeoutCause(ctx, limit, &vm.TimeError{Text: fmt.Sprintf("waited %v", limit)})
	}
	_, err = m.Agent(agentCtx)
	cancel()
	if err != nil {
		return fmt.Errorf("%s: %w", config.Target, m.Report(err))
	}
	server, err := control.Listen(m)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if _, err := io.WriteString(ready, readyPrefix+server.Socket); err != nil {
		return err
	}
	ready.Close()
	untilGone(ctx, newTie(client), m.Done())
	switch {
	case isDeadline(ctx):
		server.Cancel(errDeadline)
	case !m.Running():
		server.Wait()
	}
	return nil
}

// logDir returns the folder for a machine's logs: below a test's undeclared
// outputs, or none.
func logDir(c *machine.Config) (string, error) {
	outputs := os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR")
	if outputs == "" {
		return "", nil
	}
	name := strings.Map(func(r rune) rune {
		if r == '/' || r == ':' || r == '@' {
			return '_'
		}
		return r
	}, strings.TrimLeft(c.Target, "/@"))
	return os.MkdirTemp(outputs, filepath.Base(name)+".")
}

// untilGone waits until a process ends, the context ends, or done closes.
func untilGone(ctx context.Context, process *tie, done <-chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-done:
			return
		case <-tick.C:
			if process.ended() {
				return
			}
		}
	}
}
