package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/control"
)

// holdFlag is the argument of a guest test that keeps the guest after a failure.
const holdFlag = "--hold"

// hold lets others use the guest of a test that failed, until the guest ends or a signal
// comes. A failure to do so must not replace the test's.
func (t *inGuestTest) hold(c *config, m *vm.Machine, failure string) {
	message := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	if !m.Running() {
		message("%s: %s does not keep the guest, which has ended", c.Target, holdFlag)
		return
	}
	// Outside of Bazel's sandbox, the program is where its links lead to, and the socket has
	// the same path as inside.
	program, err := filepath.EvalSymlinks(c.VM)
	var server *control.Server
	if err == nil {
		server, err = control.ListenIn(m, filepath.Join(t.dir, "hold"), t.inTest())
	}
	if err != nil {
		message("%s: %s cannot keep the guest: %v", c.Target, holdFlag, err)
		return
	}
	defer server.Close()
	vmCommand := func(command string) string {
		return fmt.Sprintf("%s %s -s %s", quote(program), command, quote(server.Socket))
	}
	message(`%s: the test failed, and its guest is kept: %s
Open a shell in the guest from another terminal:

  %s

The shell has the test's working directory, environment and user. To end the test, power the
guest off, or run:

  %s`, c.Target, failure, vmCommand("shell"), vmCommand("stop"))
	if limit := os.Getenv("TEST_TIMEOUT"); limit != "" {
		message("\nBazel ends the test %s s after its start. For more time, run it with --test_timeout=SECONDS.", limit)
	}
	select {
	case <-m.Done():
		server.Wait() // vm stop gets its answer
	case <-t.signals:
	}
}

// quote quotes a path for a shell if it needs that.
func quote(path string) string {
	if strings.Trim(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+~@=:") == "" && !strings.HasPrefix(path, "~") {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
