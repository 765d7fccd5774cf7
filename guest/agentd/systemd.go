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
	// unitsDir has a link for each unit that was started. systemd 236 and newer make this folder
	// before they start units, and so before there is journalDir.
	unitsDir   = "/run/systemd/units/"
	journalDir = "/run/systemd/journal"
)

// awaitSystemd waits, if process 1 is systemd, until files of the host would stay.
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
		if exists(journalDir) && !exists(unitsDir) {
			return // an older systemd
		}
		// The cgroup exists before the link, and until the unit has ended.
		if !exists(unitsDir + "invocation:" + tmpfiles) {
			continue
		}
		if _, err := k.cgroup.list("system.slice/" + tmpfiles); err != nil {
			return
		}
	}
	logf("%s has not ended in %v: files that the host writes now may be lost", tmpfiles, systemdLimit)
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
