//go:build linux

package main

import (
	"os"
	"time"
)

const (
	// systemdLimit bounds how long the agent waits for systemd. A boot that goes wrong has then
	// ended in emergency mode: systemd waits 90 s for a device.
	systemdLimit = 2 * time.Minute
	// tmpfiles is the unit that empties /tmp. It comes after local-fs.target, which mounts
	// file systems, makes the root writable, and may mount another /tmp.
	tmpfiles = "systemd-tmpfiles-setup.service"
)

// awaitSystemd waits, if process 1 is systemd, until files of the host would stay. Until
// then, the kernel also drops the signals by which the agent powers off.
//
// It looks at the files that systemd writes: systemctl would take seconds of a boot on an
// emulated processor.
func awaitSystemd(k kernelDirs) {
	if k.pid1() != "systemd" {
		return
	}
	if _, err := lookPath("systemd-tmpfiles", []string{"PATH=" + defaultPath}); err != nil {
		return
	}
	for end := time.Now().Add(systemdLimit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		// systemd 236 and newer write this link when they start a unit. The cgroup exists before,
		// and until the unit has ended.
		if _, err := os.Lstat("/run/systemd/units/invocation:" + tmpfiles); err != nil {
			continue
		}
		if _, err := k.cgroup.list("system.slice/" + tmpfiles); err != nil {
			return
		}
	}
	logf("%s has not ended %v after systemd has started", tmpfiles, systemdLimit)
}
