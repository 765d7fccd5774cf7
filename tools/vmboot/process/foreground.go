package process

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// Foreground runs a program on our terminal, which is afterwards as it was
// before. Signals from the terminal are the program's, those to us end it.
func Foreground(program string, args, env []string) error {
	restore := saveTerminal(os.Stdin)
	defer restore()

	cmd := exec.Command(program, args...)
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if cmd.SysProcAttr = attributes(); cmd.SysProcAttr != nil {
		// Only the group in the foreground may read from a terminal.
		cmd.SysProcAttr.Setpgid = false
	}
	// Taken and dropped; ignored ones would be ignored by QEMU as well.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGQUIT)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("QEMU did not start: %w", err)
	}
	go func() {
		for signal := range signals {
			cmd.Process.Signal(signal)
		}
	}()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("QEMU ended with %w", err)
	}
	return nil
}
