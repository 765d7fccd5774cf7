// Bazelrun runs a command on a terminal of its own, as a user runs `bazel run` of a
// machine, until the terminal shows a text. Then it types Ctrl-A X, which ends QEMU. The
// command must end with exit status 0, the terminal must have the settings that it had
// before, and no process and no file of the command may be left.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rules-qcow2/rules_qcow2/internal/terminal"
	"github.com/rules-qcow2/rules_qcow2/tests/vm/processes"
)

func main() {
	shows := flag.String("shows", "", "the `TEXT` for which to wait")
	limit := flag.Duration("limit", 10*time.Minute, "the time until the terminal shows it")
	flag.Parse()
	if err := run(flag.Args(), *shows, *limit); err != nil {
		fmt.Fprintln(os.Stderr, "bazelrun:", err)
		os.Exit(1)
	}
}

func run(command []string, shows string, limit time.Duration) error {
	// The command's processes have it in their environment.
	tmp, err := os.MkdirTemp("", "bazelrun")
	if err != nil {
		return err
	}
	defer func() {
		for pid := range processes.With(tmp) {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		os.RemoveAll(tmp)
	}()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	s, err := terminal.Start(cmd)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Wait() }()

	for deadline := time.Now().Add(limit); !strings.Contains(s.Screen(), shows); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-ended:
			return fmt.Errorf("the command ended before it showed %q: %v\n%s", shows, err, s.Screen())
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the command did not show %q within %v\n%s", shows, limit, s.Screen())
		}
	}
	// Ctrl-A must reach QEMU, which needs the terminal without line editing.
	changed, err := s.Changed()
	if err == nil && !changed {
		err = errors.New("the guest does not have the terminal: its settings have not changed")
	}
	if err == nil {
		err = s.Type("\x01x")
	}
	if err != nil {
		return err
	}
	select {
	case err = <-ended:
	case <-time.After(limit):
		err = fmt.Errorf("it did not end within %v after Ctrl-A X", limit)
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, s.Screen())
	}
	return errors.Join(noProcesses(tmp), noFiles(tmp))
}

func noProcesses(text string) (err error) {
	for pid, line := range processes.With(text) {
		err = errors.Join(err, fmt.Errorf("process %d is left: %s", pid, line))
	}
	return err
}

func noFiles(dir string) error {
	files, err := filepath.Glob(dir + "/*")
	if len(files) > 0 {
		err = errors.Join(err, fmt.Errorf("files are left: %q", files))
	}
	return err
}
