package boot

import (
	"errors"
	"fmt"
	"os"

	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/cmdline"
	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/process"
)

// startHook runs the program that wants to talk to the guest.
func (r *run) startHook() {
	env := Environment(r.machine, r.Outputs.Console.Name())
	for name, address := range r.ports {
		env = append(env, name+"="+address)
	}
	hook, err := process.StartHook(r.machine.RunWhileUp, append(os.Environ(), env...))
	if err != nil {
		r.end(fmt.Errorf("run_while_up did not start: %w", err))
		return
	}
	r.hook = hook
	go func() { r.inbox <- hookEnd{hook.Wait()} }()
}

func (r *run) hookEnded(err error) {
	if r.quitting {
		return
	}
	if err != nil {
		r.end(fmt.Errorf("run_while_up failed: %w", err))
		return
	}
	r.hookPassed = true
	if r.machine.ExitStatus == nil {
		r.end(nil)
	}
}

// RunAfter runs the program that looks at what a run left.
func RunAfter(m *cmdline.Machine, console string) error {
	if m.Config.RunAfter == "" {
		return nil
	}
	hook, err := process.StartHook(m.Config.RunAfter, append(os.Environ(), Environment(m, console)...))
	if err != nil {
		return fmt.Errorf("run_after did not start: %w", err)
	}
	if err := hook.Wait(); err != nil {
		return errors.New("run_after failed: " + err.Error())
	}
	return nil
}

// Environment returns what a program of the user's is told about a machine.
func Environment(m *cmdline.Machine, console string) []string {
	env := []string{"VM_CONSOLE=" + console, "VM_QEMU_IMG=" + m.QEMUImg}
	for i, layer := range m.Layers {
		env = append(env, fmt.Sprintf("VM_DISK%d=%s", i, layer))
	}
	return env
}
