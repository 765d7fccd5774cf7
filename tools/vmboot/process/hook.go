package process

import (
	"os"
	"os/exec"
	"syscall"
)

// A Hook is a program of the user's, with all the processes that it starts.
type Hook struct{ cmd *exec.Cmd }

// StartHook starts a program whose output goes where ours goes. Like QEMU it
// dies with the thread that calls this.
func StartHook(program string, env []string) (*Hook, error) {
	cmd := exec.Command(program)
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = attributes()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	return &Hook{cmd}, cmd.Start()
}

// Wait waits for the end of the program. An exit status other than 0 is an
// error.
func (h *Hook) Wait() error { return h.cmd.Wait() }

// Kill ends the program and its children; without one it does nothing.
func (h *Hook) Kill() {
	if h != nil {
		syscall.Kill(-h.cmd.Process.Pid, syscall.SIGKILL)
	}
}
