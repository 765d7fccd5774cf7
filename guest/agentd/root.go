//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// rootDelay is how long the disk of root= may take to appear.
const rootDelay = 10 * time.Second

// mountRoot mounts root= as the kernel would without an initrd, and makes it the
// root of this process.
func mountRoot(k kernelDirs, args map[string]string) error {
	device := strings.TrimPrefix(args["root"], "/dev/")
	if strings.Contains(device, "=") || strings.HasPrefix(device, "/") {
		return fmt.Errorf("root=%s is not supported without an initrd; use a device such as /dev/vda", args["root"])
	}
	const target = "/.rules_qcow2_root"
	for _, path := range []string{target, "/dev"} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
	}
	if err := syscall.Mount("devtmpfs", "/dev", "devtmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount devtmpfs: %w", err)
	}
	dev := "/dev/" + device
	for end := time.Now().Add(rootDelay); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(dev); err == nil {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("root=%s: the disk did not appear within %v", args["root"], rootDelay)
		}
	}
	types, err := rootTypes(k, args["rootfstype"])
	if err != nil {
		return err
	}
	var flags uintptr = syscall.MS_RDONLY
	if _, ok := args["rw"]; ok {
		flags = 0
	}
	for _, kind := range types {
		if err = syscall.Mount(dev, target, kind, flags, args["rootflags"]); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("mount root=%s as %s: %w", args["root"], strings.Join(types, ", "), err)
	}
	if err := syscall.Unmount("/dev", syscall.MNT_DETACH); err != nil {
		return err
	}
	// As switch_root: the new root covers the old one.
	if err := syscall.Chdir(target); err != nil {
		return err
	}
	// The kernel does this where it mounts root= itself; a root without /dev gets
	// none.
	syscall.Mount("devtmpfs", "dev", "devtmpfs", 0, "")
	if err := syscall.Mount(".", "/", "", syscall.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := syscall.Chroot("."); err != nil {
		return err
	}
	return syscall.Chdir("/")
}

// rootTypes returns the file systems to try.
func rootTypes(k kernelDirs, given string) ([]string, error) {
	if given != "" {
		return strings.Split(given, ","), nil
	}
	list, err := k.proc.read("filesystems")
	if err != nil {
		return nil, err
	}
	var types []string
	for line := range strings.Lines(list) {
		if kind, ok := strings.CutPrefix(line, "\t"); ok {
			types = append(types, strings.TrimSpace(kind))
		}
	}
	// ext3 and ext2 mount an ext4 file system if they come first and can.
	if i := slices.Index(types, "ext4"); i > 0 {
		types = slices.Insert(slices.Delete(types, i, i+1), 0, "ext4")
	}
	return types, nil
}

// execRealInit becomes the init of the real root. It tries the paths that the kernel tries.
func execRealInit(given string) error {
	inits := []string{"/sbin/init", "/etc/init", "/bin/init", "/bin/sh"}
	if given != "" {
		inits = []string{given}
	}
	var errs []error
	for _, path := range inits {
		errs = append(errs, execInit(path, os.Args[1:]))
	}
	return errors.Join(errs...)
}

// mountAll gives a guest that is nothing but the agent the usual file systems.
func mountAll() {
	for _, fs := range []struct {
		kind, path, options string
	}{
		{"proc", "/proc", ""},
		{"sysfs", "/sys", ""},
		{"devtmpfs", "/dev", ""},
		{"devpts", "/dev/pts", "ptmxmode=666"},
		{"tmpfs", "/dev/shm", "mode=1777"},
		{"tmpfs", "/run", "mode=755"},
		{"tmpfs", "/tmp", "mode=1777"},
		{"cgroup2", "/sys/fs/cgroup", ""},
	} {
		os.MkdirAll(fs.path, 0o755)
		if err := syscall.Mount(fs.kind, fs.path, fs.kind, syscall.MS_NOSUID, fs.options); err != nil {
			logf("mount %s: %v", fs.path, err)
		}
	}
	os.MkdirAll("/root", 0o700)
	os.MkdirAll("/etc", 0o755)
	if err := loopbackUp(); err != nil {
		logf("loopback interface: %v", err)
	}
}

// reap keeps the agent running and collects the processes that others left to
// process 1.
func reap(start func() (int, error)) error {
	child, err := start()
	if err != nil {
		return err
	}
	for {
		pid, err := syscall.Wait4(-1, nil, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil && err != syscall.ECHILD {
			return err
		}
		if pid == child || err == syscall.ECHILD {
			logf("the agent ended and starts again")
			time.Sleep(time.Second)
			if child, err = start(); err != nil {
				return err
			}
		}
	}
}
