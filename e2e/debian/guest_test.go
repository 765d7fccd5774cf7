// Package debian_test runs commands in guests that are made of Debian's packages.
package debian_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/go/vm/vmtest"
)

// TestGuest boots the machine that the environment describes, and uses it as a
// user's test would.
func TestGuest(t *testing.T) {
	// A busy host takes long to collect the guest's logs.
	m := vmtest.Start(t, os.Getenv("VM"), func(_ *machine.Config, o *vm.Options) { o.CloseTimeout = time.Minute })

	if os.Getenv("REBOOTS_EARLY") != "" {
		m.Reboot() // the guest is still booting
	}
	// The first answer comes when files stay.
	for _, file := range []string{"/etc/first", "/tmp/first"} {
		m.WriteFile(file, []byte("first\n"))
	}
	m.WaitFor("systemctl is-system-running --wait || { systemctl --no-pager --failed; exit 1; }")
	m.Run("rm /etc/first /tmp/first")
	if got, want := m.Run(". /etc/os-release; echo $ID $VERSION_ID"), "debian "+os.Getenv("VERSION")+"\n"; got != want {
		t.Errorf("the guest is %q, want %q", got, want)
	}
	// The agent is in the real root, not in an initrd.
	if got, want := m.Run("findmnt --noheadings --output SOURCE,FSTYPE,LABEL /"), os.Getenv("ROOT")+" ext4 root"; strings.Join(strings.Fields(got), " ") != want {
		t.Errorf("the root is %q, want %q", got, want)
	}

	// The first disk is the user's, not one that the agent came on.
	if got := m.Run("cat /sys/block/vda/size"); got != os.Getenv("SECTORS")+"\n" {
		t.Errorf("/dev/vda has %q sectors, want %s", got, os.Getenv("SECTORS"))
	}
	checkCommands(t, m)
	checkReport(t, m)

	m.WriteFile("/root/written", []byte("by the agent\n"))
	if os.Getenv("REBOOTS") != "" {
		boot := m.Run("cat /proc/sys/kernel/random/boot_id")
		m.Reboot()
		m.WaitForUnit("multi-user.target")
		if again := m.Run("cat /proc/sys/kernel/random/boot_id /root/written"); strings.HasPrefix(again, boot) || !strings.HasSuffix(again, "\nby the agent\n") {
			t.Errorf("the guest has %q after a reboot of %q", again, boot)
		}
	}
	if os.Getenv("POWERS_ON") != "" {
		m.PowerOff()
		m.PowerOn()
		m.WaitForUnit("multi-user.target")
		if got := m.Run("cat /root/written"); got != "by the agent\n" {
			t.Errorf("the file is %q after a power-off", got)
		}
	}
	m.PowerOff()
	checkRoot(t, m.VM.Layers()[0])
}

// checkCommands runs commands that need what only a full system has.
func checkCommands(t *testing.T, m *vmtest.Machine) {
	t.Helper()
	// As another user, with the user's groups.
	if got := m.Run("runuser --user nobody -- id --user --name"); got != "nobody\n" {
		t.Errorf("the user is %q", got)
	}
	// Units that the agent starts stay after its command.
	m.Run("systemd-run --unit=stays --quiet sleep infinity")
	m.WaitForUnit("stays.service")
	// A guest without free memory kills commands, not the agent.
	if agent, command := string(m.ReadFile("/proc/self/oom_score_adj")), m.Run("cat /proc/self/oom_score_adj"); agent != "-1000\n" || command != "0\n" {
		t.Errorf("oom_score_adj is %q for the agent and %q for a command", agent, command)
	}
	dir := t.TempDir()
	m.CopyFrom("/usr/bin/env", filepath.Join(dir, "env"))
	m.CopyTo(filepath.Join(dir, "env"), "/run/env")
	m.Run("cmp /usr/bin/env /run/env")
}

// checkReport lets a service fail, and looks at what the failure of a test would show.
func checkReport(t *testing.T, m *vmtest.Machine) {
	t.Helper()
	m.Run("systemd-run --quiet --unit=broken sh -c 'echo the service cannot run; exit 3'")
	m.WaitFor("systemctl is-failed broken")
	failed := m.VM.WaitForUnit(t.Context(), "broken.service", 0)
	for _, want := range []string{`the unit "broken.service" has failed`, "the service cannot run"} {
		if failed == nil || !strings.Contains(failed.Error(), want) {
			t.Errorf("WaitForUnit: got error %v, want %q", failed, want)
		}
	}
	answers := vm.Command{Args: []string{"test", "-e", "/run/broken.socket"}}
	err := m.VM.WaitFor(t.Context(), answers, time.Second)
	if err == nil {
		t.Fatal("the service answers")
	}
	m.VM.CollectLogs()
	report := m.VM.Report(err).Error()
	for _, want := range []string{
		`["test" "-e" "/run/broken.socket"] did not succeed: waited 1s`,
		`failed units in the guest (their messages are in journal.log): ["broken.service"]`,
		"last lines of the console",
	} {
		if !strings.Contains(report, want) {
			t.Errorf("the report does not have %q:\n%s", want, report)
		}
	}
	for name, want := range map[string]string{
		"failed-units.log": "broken.service",
		"journal.log":      "the service cannot run",
		"dmesg.log":        "Linux version",
	} {
		content, err := os.ReadFile(filepath.Join(filepath.Dir(m.VM.ConsoleLog()), name))
		if err != nil || !strings.Contains(string(content), want) {
			t.Errorf("%s does not have %q: %v\n%s", name, want, err, content)
		}
	}
}
