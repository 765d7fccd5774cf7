//go:build linux

package main

import (
	"os"
	"strings"
	"syscall"
	"time"
)

// rtmin is SIGRTMIN of the C library, by which systemd counts its signals.
const rtmin = 34

// An ending is a way in which a guest ends.
type ending struct {
	name    string
	systemd syscall.Signal // at which systemd(1) starts the target: without D-Bus, and early in the boot
	command int            // of reboot(2)
}

var (
	powerOff = ending{"power off", rtmin + 4, syscall.LINUX_REBOOT_CMD_POWER_OFF}
	reboot   = ending{"reboot", rtmin + 5, syscall.LINUX_REBOOT_CMD_RESTART}
)

// systemdTakesLimit bounds how long the agent waits until systemd takes signals.
const systemdTakesLimit = time.Minute

// end ends the guest with its file systems unmounted or read-only. The host has the
// result already.
func (a *agent) end(e ending) {
	if a.kernel.pid1() == "systemd" {
		// awaitSystemd does not know all versions of systemd.
		for end := time.Now().Add(systemdTakesLimit); time.Now().Before(end) && !a.kernel.pid1Takes(e.systemd); {
			time.Sleep(20 * time.Millisecond)
		}
		if syscall.Kill(1, e.systemd) == nil {
			return
		}
	}
	// Everything but process 1 and this process.
	syscall.Kill(-1, syscall.SIGTERM)
	syscall.Kill(-1, syscall.SIGCONT)
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end) && a.othersRun(); {
		time.Sleep(20 * time.Millisecond)
	}
	syscall.Kill(-1, syscall.SIGKILL)
	syscall.Sync()
	a.unmountAll()
	syscall.Sync()
	if err := syscall.Reboot(e.command); err != nil {
		logf("%s: %v", e.name, err)
	}
}

// othersRun reports whether a process runs that the power-off should wait for.
func (a *agent) othersRun() bool {
	names, err := a.kernel.proc.list(".")
	if err != nil {
		return false
	}
	self, _ := os.Readlink("/proc/self")
	for _, name := range names {
		if name[0] < '1' || name[0] > '9' || name == "1" || name == self {
			continue
		}
		// Kernel threads have an empty command line, and so have zombies.
		if cmdline, err := a.kernel.proc.read(name + "/cmdline"); err == nil && cmdline != "" && !strings.HasPrefix(cmdline, "@") {
			return true
		}
	}
	return false
}

// unmountAll unmounts the file systems, or makes those in use read-only.
func (a *agent) unmountAll() {
	mounts, err := a.kernel.proc.read("self/mounts")
	if err != nil {
		return
	}
	lines := strings.Split(strings.TrimSpace(mounts), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		f := strings.Fields(lines[i])
		if len(f) < 3 {
			continue
		}
		path := unescapeMount(f[1])
		if path == "/" || syscall.Unmount(path, 0) != nil {
			syscall.Mount("", path, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
		}
	}
}

// unescapeMount undoes how the kernel writes blanks in a mount point.
func unescapeMount(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}
