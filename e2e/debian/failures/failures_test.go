// Package failures_test boots guests in which the agent cannot start, or cannot
// reach the host, and machines that cannot boot.
package failures_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm/vmtest"
)

// e2e/boot/agent has agent = "installed".
func TestHint(t *testing.T) {
	for _, test := range []struct {
		machine string // by its environment variable
		hint    string
	}{
		{"OLD_SYSTEMD", `systemd got a unit for it by SMBIOS (agent = "systemd"): check that the guest has systemd 256 or newer`},
		{"WITHOUT_CLOUD_INIT", `cloud-init got a seed for it (agent = "cloud-init"): check that the guest has cloud-init`},
		{"WITHOUT_DRIVER", `(agent = "initrd"): check that kernel_args do not set rdinit= and that the kernel supports an initrd and virtio_console`},
	} {
		t.Run(test.machine, func(t *testing.T) {
			m := vmtest.Start(t, os.Getenv(test.machine))
			// All agents that can start have done so by then.
			m.Expect("Reached target .*sysinit.target")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := m.VM.Agent(ctx)
			if err == nil {
				t.Fatal("the agent answered")
			}
			for _, want := range []string{"the agent did not answer: ", test.hint, "last lines of the console"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in the error: %v", want, err)
				}
			}
		})
	}
}

// A machine that cannot boot fails when that can be seen, and says why.
func TestCannotBoot(t *testing.T) {
	for _, test := range []struct{ name, failure, hint string }{
		{"little_memory", "the guest reset the machine before the console showed", "a kernel that does not fit into memory (64M) resets the machine"},
		{"deadlocked_memory", `"Kernel panic - not syncing"`, "the guest has too little memory (96M)"},
		{"little_memory_for_grub", `"^grub( rescue)?> "`, "the guest has too little memory (64M)"},
		{"no_driver", `"Kernel panic - not syncing"`, "check root= in kernel_args, and that the kernel or its initrd has drivers for"},
		{"no_root", `"Gave up waiting for root file system device"`, "check root= in kernel_args"},
		{"no_boot_loader", `"BdsDxe: No bootable option or device was found"`, `if the disk boots by a BIOS, set firmware = "bios"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			program, err := runfiles.Rlocation("rules_qcow2_e2e_debian/failures/" + test.name + "_test")
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(program)
			cmd.Env = append(os.Environ(), "TEST_TMPDIR="+t.TempDir(), "TEST_UNDECLARED_OUTPUTS_DIR="+t.TempDir(), "TEST_TIMEOUT=600")
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("got %v, want exit status 1", err)
			}
			for _, want := range []string{test.failure, "\n  the guest failed, after ", test.hint} {
				if !strings.Contains(string(out), want) {
					t.Errorf("the log does not have %q:\n%s", want, out)
				}
			}
		})
	}
}
