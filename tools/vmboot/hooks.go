package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/control"
	"github.com/rules-qcow2/rules_qcow2/internal/child"
)

// hooks run the programs of a boot test, with their arguments and environment.
type hooks struct {
	args   []string // of the test, as from --test_arg
	env    []string
	server *control.Server // for the program vm; nil if no hook runs while the machine does
}

// A hookError says how the program of a hook failed.
type hookError struct{ attribute, program, end string }

func (e *hookError) Error() string {
	return fmt.Sprintf("%s: %s %s, want exit status 0; its output is above", e.attribute, e.program, e.end)
}

// hookEnd says how a program ended, from the error of exec.Cmd.Wait.
func hookEnd(err error) string {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return "failed: " + err.Error()
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return fmt.Sprintf("was killed by signal %d (%v)", status.Signal(), status.Signal())
	}
	return fmt.Sprintf("ended with exit status %d", exit.ExitCode())
}

// setMachine sets the variables that describe a machine to the hooks, and lets
// run_while_up use it with the program vm.
func (h *hooks) setMachine(c *config, m *vm.Machine) (err error) {
	h.env = []string{"VM_CONSOLE=" + m.ConsoleLog(), "VM_QEMU_IMG=" + c.QEMUImg}
	for i, layer := range m.Layers() {
		h.env = append(h.env, fmt.Sprintf("VM_DISK%d=%s", i, layer))
	}
	for port, address := range m.Ports() {
		h.env = append(h.env, "VM_"+strings.ToUpper(strings.ReplaceAll(port, ":", "_"))+"="+address)
	}
	if c.RunWhileUp == "" {
		return nil
	}
	if h.server, err = control.Listen(m); err != nil {
		return err
	}
	h.env = append(h.env, "VM="+c.VM, control.SocketVariable+"="+h.server.Socket)
	return nil
}

// close ends the use of the machine by hooks.
func (h *hooks) close() {
	if h.server != nil {
		h.server.Close()
	}
}

// runWhileUp runs a program while the machine runs. If the machine ends before
// the program and mayEnd is false, that is an error.
func (h *hooks) runWhileUp(ctx context.Context, program string, m *vm.Machine, mayEnd bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if !mayEnd {
		go func() {
			select {
			case <-m.Done():
				cancel(fmt.Errorf("%v before run_while_up was done", m.End()))
			case <-ctx.Done():
			}
		}()
	}
	return h.run(ctx, "run_while_up", program)
}

// runAfter runs a program after the machine has ended.
func (h *hooks) runAfter(ctx context.Context, program string) error {
	if program == "" {
		return nil
	}
	err := h.run(ctx, "run_after", program)
	if errors.Is(err, errLimit) {
		return errors.New("run_after did not end within the test's timeout")
	}
	return err
}

// run runs a program, and kills it with its process group when the context
// ends.
func (h *hooks) run(ctx context.Context, attribute, program string) error {
	cmd := exec.Command(program, h.args...)
	cmd.Env = append(os.Environ(), h.env...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = child.Attributes()
	cmd.SysProcAttr.Setpgid = true
	wait, err := child.Spawn(cmd)
	if err != nil {
		return fmt.Errorf("%s did not start: %w; it must be a program for the host", attribute, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		return context.Cause(ctx)
	}
	// Processes that the program left do not outlive the test.
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if err != nil {
		return &hookError{attribute, filepath.Base(program), hookEnd(err)}
	}
	return nil
}
