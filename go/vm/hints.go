package vm

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// consoleHints explain lines at the end of the console. MEMORY stands for Config.Memory.
var consoleHints = []struct {
	pattern *regexp.Regexp
	hint    string
}{
	{
		regexp.MustCompile(`VFS: Unable to mount root fs|Gave up waiting for root file system device`),
		"the kernel did not find its root file system: check root= in kernel_args, and that the kernel or its initrd has drivers for the disk's interface and for the file system; an initrd that does not fit into memory (MEMORY) is ignored",
	},
	{
		regexp.MustCompile(`System is deadlocked on memory|Out of memory and no killable processes|^error: out of memory`),
		"the guest has too little memory (MEMORY): set memory",
	},
	{
		regexp.MustCompile("BdsDxe: No bootable option or device was found"),
		`the firmware found nothing to boot from: the machine has no disk with a boot loader for UEFI; if the disk boots by a BIOS, set firmware = "bios"`,
	},
}

// hints returns sentences about possible causes of a failure.
func (m *Machine) hints() []string {
	var hints []string
	tail := m.console.lastLines()
	for _, h := range consoleHints {
		if slices.ContainsFunc(tail, h.pattern.MatchString) {
			hints = append(hints, strings.ReplaceAll(h.hint, "MEMORY", m.config.Memory))
		}
	}
	if len(tail) == 0 && m.config.Kernel != "" && m.End().Reason == "guest-reset" {
		hints = append(hints, fmt.Sprintf("a kernel that does not fit into memory (%s) resets the machine before it writes anything", m.config.Memory))
	}
	for _, link := range m.links {
		// A guest without a running agent may not have come that far.
		if m.agentAnswered() && !link.Configured() {
			hints = append(hints, fmt.Sprintf("the guest has neither asked for its address %v on the network nor used it: it needs a DHCP client, or an agent and vmtest.WithStaticAddresses()", link.Addr()))
		}
	}
	return hints
}
