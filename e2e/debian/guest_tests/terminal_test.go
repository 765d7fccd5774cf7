package guest_tests_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/internal/terminal"
)

// On a terminal, --interactive runs the user's shell on a terminal of the guest.
func TestInteractive(t *testing.T) {
	for _, test := range []struct{ variable, shell, prompt, user, exit string }{
		{"SHELL_IN_DEBIAN", "/bin/bash", "# ", "root", "6"},
		{"AS_NOBODY", "/bin/sh", "$ ", "nobody", "7"}, // whose shell is nologin
	} {
		t.Run(test.user, func(t *testing.T) {
			program, err := runfiles.Rlocation(os.Getenv(test.variable))
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("sh", "-c", `stty rows 31 cols 97; "$0" --interactive; echo "status $?"`, program)
			cmd.Dir = filepath.Join(os.Getenv("TEST_SRCDIR"), os.Getenv("TEST_WORKSPACE")) // as Bazel does
			cmd.Env = append(os.Environ(), "TERM=dumb")
			s, err := terminal.Start(cmd)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { cmd.Process.Kill() })
			wait := func(text string) {
				t.Helper()
				for end := time.Now().Add(2 * time.Minute); !strings.Contains(s.Screen(), text); time.Sleep(10 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("the terminal shows %q, want %q", s.Screen(), text)
					}
				}
			}
			wait(test.prompt)
			// The terminal shows what is typed as well: the quotes keep that apart.
			s.Type(`echo "sh"ell $SHELL $TERM $(id -un) $(stty size) $(stat -c %U $(tty))` + "\n")
			wait("\nshell " + test.shell + " dumb " + test.user + " 31 97 " + test.user)
			s.Type(`cat guest_tests/data.txt; echo "sl"eeps; sleep 1000` + "\n")
			wait("data\r\nsleeps")
			// Until the shell has given the terminal to the command.
			time.Sleep(time.Second)
			s.Type("\x03")
			wait("^C")
			s.Type(`echo "st"atus $?; exit ` + test.exit + "\n")
			wait("status 130")
			wait("status " + test.exit)
			if err := s.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
