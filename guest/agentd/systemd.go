//go:build linux

package main

import (
	"io"
	"os"
	"strings"
	"time"
)

// systemdLimit bounds how long the agent waits for systemd. A boot that goes wrong has then
// ended in emergency mode: systemd waits 90 s for a device.
const systemdLimit = 2 * time.Minute

// awaitSystemd waits until systemd, if it is process 1, has reached basic.target. Before,
// file systems are read-only or not mounted, what is in /tmp is removed, systemctl does not
// work, and the kernel drops the signals by which the agent powers off.
func awaitSystemd(k kernelDirs) {
	if k.pid1() != "systemd" {
		return
	}
	systemctl, err := lookPath("systemctl", []string{"PATH=" + defaultPath})
	if err != nil {
		return
	}
	for end := time.Now().Add(systemdLimit); time.Now().Before(end); {
		begin := time.Now()
		switch state := systemState(systemctl, time.Until(end)); state {
		case "starting", "running", "degraded", "maintenance", "stopping":
			return
		}
		// Leave the processor to the boot.
		time.Sleep(20*time.Millisecond + 4*time.Since(begin))
	}
	logf("systemd has not reached basic.target after %v", systemdLimit)
}

// systemState returns what systemctl(1) says of the boot; "" if it does not end within the
// limit.
func systemState(systemctl string, limit time.Duration) string {
	r, w, err := os.Pipe()
	if err != nil {
		return ""
	}
	defer r.Close()
	p, err := os.StartProcess(systemctl, []string{"systemctl", "is-system-running"}, &os.ProcAttr{
		Env:   []string{"PATH=" + defaultPath},
		Files: []*os.File{nil, w, nil},
	})
	w.Close()
	if err != nil {
		return ""
	}
	kill := time.AfterFunc(limit, func() { p.Kill() })
	state, _ := io.ReadAll(io.LimitReader(r, 100))
	p.Wait()
	kill.Stop()
	return strings.TrimSpace(string(state))
}
