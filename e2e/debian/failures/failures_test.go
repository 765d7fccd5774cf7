// Package failures_test boots guests in which the agent cannot start, or cannot
// reach the host.
package failures_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/vmtest"
)

func TestHint(t *testing.T) {
	for _, test := range []struct {
		machine string // by its environment variable
		hint    string
	}{
		{"OLD_SYSTEMD", `systemd got a unit for it by SMBIOS (agent = "systemd"): check that the guest has systemd 256 or newer`},
		{"WITHOUT_CLOUD_INIT", `cloud-init got a seed for it (agent = "cloud-init"): check that the guest has cloud-init`},
		{"WITHOUT_DRIVER", `(agent = "initrd"): check that kernel_args do not set rdinit= and that the kernel supports an initrd and virtio_console`},
		{"NOT_INSTALLED", `the image must start it (agent = "installed")`},
	} {
		t.Run(test.machine, func(t *testing.T) {
			m := vmtest.Start(t, os.Getenv(test.machine))
			// All agents that can start have done so by then.
			m.Expect("Reached target .*sysinit.target")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := m.Agent(ctx)
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
