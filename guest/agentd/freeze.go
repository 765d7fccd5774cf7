//go:build linux

package main

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

// frozen is what the agent has stopped, for the host to save the guest.
type frozen struct {
	mu     sync.Mutex
	groups []string       // cgroups, which thaw lets go on
	guest  *protocol.Info // of the guest that was frozen; nil if none is
}

// info returns what the guest was when it was frozen, nil if it is not. It spares a guest
// that resumes some work before its first answer.
func (z *frozen) info() *protocol.Info {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.guest
}

// freeze stops all programs in cgroups but process 1 and the agent: they go on when the
// guest that resumed has a time and random numbers of its own. Without cgroups of version
// 2, nothing stops. A cgroup that the guest has frozen itself stays frozen.
func (a *agent) freeze() error {
	info := a.info()
	z := &a.frozen
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.guest != nil {
		return nil
	}
	z.guest = &info
	// The guests that resume do not have to do it.
	runtime.GC()
	if a.kernel.cgroup == noDir {
		return nil
	}
	keep := []string{a.kernel.cgroupOf("1"), a.kernel.cgroupOf("self")}
	if err := z.freezeBelow(a.kernel.cgroup, ".", keep); err != nil {
		return errors.Join(err, z.thaw(a.kernel.cgroup))
	}
	z.wait(a.kernel.cgroup)
	return nil
}

// freezeBelow freezes the cgroups in a cgroup, except those with a cgroup of keep.
func (z *frozen) freezeBelow(root dir, parent string, keep []string) error {
	names, err := root.folders(parent)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := strings.TrimPrefix(parent+"/"+name, "./")
		isKept := false
		for _, k := range keep {
			isKept = isKept || k == path || strings.HasPrefix(k, path+"/")
		}
		if isKept {
			err = z.freezeBelow(root, path, keep)
		} else {
			err = z.freezeGroup(root, path)
		}
		// It may be gone. Linux older than 5.2 has no file cgroup.freeze.
		if err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENODEV) {
			return err
		}
	}
	return nil
}

const freezeFile = "/cgroup.freeze"

func (z *frozen) freezeGroup(root dir, path string) error {
	state, err := root.read(path + freezeFile)
	if err != nil || strings.TrimSpace(state) == "1" {
		return err
	}
	if err := root.write(path+freezeFile, "1"); err != nil {
		return err
	}
	z.groups = append(z.groups, path)
	return nil
}

// freezeDelay is how long processes may take to stop. One that waits for a disk takes
// longer, but it does not run either: it stops when it returns from the kernel.
const freezeDelay = time.Second

// wait waits until all processes have stopped.
func (z *frozen) wait(root dir) {
	end := time.Now().Add(freezeDelay)
	for _, path := range z.groups {
		for time.Now().Before(end) {
			events, err := root.read(path + "/cgroup.events")
			if err != nil || strings.Contains(events, "frozen 1\n") {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// thaw lets the programs go on that freeze has stopped.
func (a *agent) thaw() error {
	a.frozen.mu.Lock()
	defer a.frozen.mu.Unlock()
	return a.frozen.thaw(a.kernel.cgroup)
}

func (z *frozen) thaw(root dir) error {
	var errs []error
	for _, path := range z.groups {
		if err := root.write(path+freezeFile, "0"); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENODEV) {
			errs = append(errs, err)
		}
	}
	z.groups, z.guest = nil, nil
	return errors.Join(errs...)
}
