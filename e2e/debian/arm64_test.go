package debian_test

import (
	"os"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/vm/vmtest"
)

// TestARM64 boots without a distribution's initrd: the agent mounts the root.
func TestARM64(t *testing.T) {
	m := vmtest.Start(t, os.Getenv("VM"))
	if got := m.Run("uname -m"); got != "aarch64\n" {
		t.Errorf("the machine is %q", got)
	}
	m.WaitFor("grep '^/dev/nvme0n1 / ext4 rw' /proc/mounts")
	if got := m.Run("cat /proc/1/comm"); got != "init\n" {
		t.Errorf("process 1 is %q", got)
	}
	m.WriteFile("/root/written", []byte("by the agent\n"))
	m.PowerOff()
	checkRoot(t, m.VM.Layers()[0])
}
