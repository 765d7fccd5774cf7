package cli

import (
	"bufio"
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

	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/control"
)

// A Loader reads the description of a machine next to a target's executable.
type Loader func(target string) (*vm.Config, error)

// serveCommand is the command by which start runs itself in the background.
const serveCommand = "serve-for-start"

// Descriptors that start passes to serve.
const readyFD = 3

// start runs a machine in the background and prints the path of its socket once
// its agent answers. The machine ends with the process that ran vm.
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
	cmd := exec.Command(program, serveCommand, args[0], strconv.Itoa(os.Getppid()), o.limit.String())
	cmd.Args[0] = "vm"
	cmd.ExtraFiles = []*os.File{theirs}
	// Our standard output is what the caller reads: the background process must
	// not keep it open.
	cmd.Stderr = os.Stderr
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { cmd.Process.Signal(syscall.SIGTERM) })()
	line, err := bufio.NewReader(ready).ReadString('\n')
	if err != nil {
		// It has said why.
		cmd.Wait()
		return fmt.Errorf("start: %s did not start", args[0])
	}
	fmt.Print(line)
	return nil
}

// serve runs a machine until it ends, a signal comes, or the process that it
// serves has ended.
func serve(ctx context.Context, args []string, load Loader) (err error) {
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
	ready := os.NewFile(readyFD, "ready")
	defer ready.Close()
	config, err := load(args[0])
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
	m, err := vm.Start(ctx, config, vm.Options{Dir: dir, Logs: logs, FailOn: vm.DefaultFailOn, Agent: true})
	if err != nil {
		return fmt.Errorf("%s: %w", config.Target, err)
	}
	defer m.Close()
	agentCtx, cancel := ctx, func() {}
	if limit > 0 {
		agentCtx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("waited %v", limit))
	}
	_, err = m.Agent(agentCtx)
	cancel()
	if err != nil {
		return fmt.Errorf("%s: %w", config.Target, err)
	}
	server, err := control.Listen(m)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if _, err := io.WriteString(ready, server.Socket+"\n"); err != nil {
		return err
	}
	ready.Close()
	untilGone(ctx, client, m.Done())
	return nil
}

// logDir returns the folder for a machine's logs: below a test's undeclared
// outputs, or none.
func logDir(c *vm.Config) (string, error) {
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
func untilGone(ctx context.Context, pid int, done <-chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-done:
			return
		case <-tick.C:
			if syscall.Kill(pid, 0) != nil {
				return
			}
		}
	}
}
