//go:build linux

package main

import (
	"os"
	"strings"
	"syscall"
	"time"
)

// powerOff ends the guest with its file systems unmounted or read-only. The host
// has the result already.
func (a *agent) powerOff() {
	if a.kernel.pid1() == "systemd" {
		// As systemctl poweroff, but it works without D-Bus and early in the boot:
		// systemd(1) starts poweroff.target at SIGRTMIN+4.
		const rtmin = 34
		if syscall.Kill(1, rtmin+4) == nil {
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
	if err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		logf("power off: %v", err)
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
