//go:build linux

package main

import (
	"fmt"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

// info describes the guest at this time. Unknown fields are empty.
func (a *agent) info() protocol.Info {
	var m protocol.Info
	var u syscall.Utsname
	if syscall.Uname(&u) == nil {
		m.Arch, m.Kernel, m.Hostname = cString(u.Machine[:]), cString(u.Release[:]), cString(u.Nodename[:])
	}
	if root, err := openDir("/"); err == nil {
		release, err := root.read("etc/os-release")
		if err != nil {
			release, _ = root.read("usr/lib/os-release")
		}
		m.OSID, m.OSVersion, m.OSName = osRelease(release)
		syscall.Close(int(root))
	}
	m.PID1 = a.kernel.pid1()
	id, _ := a.kernel.proc.read("sys/kernel/random/boot_id")
	m.BootID = strings.TrimSpace(id)
	mounts, _ := a.kernel.proc.read("self/mounts")
	for line := range strings.Lines(mounts) {
		// The last mount on / is the one that is seen.
		if f := strings.Fields(line); len(f) > 2 && f[1] == "/" {
			m.RootFS = f[2]
		}
	}
	if m.RootFS == "" {
		m.RootFS = "rootfs" // not in the list of mounts where it is the only one
	}
	m.Initrd = m.RootFS == "rootfs"
	return m
}

func cString[T int8 | uint8](b []T) string {
	var s []byte
	for _, c := range b {
		if c == 0 {
			break
		}
		s = append(s, byte(c))
	}
	return string(s)
}

// osRelease returns three variables of an os-release file.
func osRelease(content string) (id, version, name string) {
	for line := range strings.Lines(content) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		value = value[:min(len(value), 1024)]
		switch key {
		case "ID":
			id = value
		case "VERSION_ID":
			version = value
		case "PRETTY_NAME":
			name = value
		}
	}
	return id, version, name
}

// configure gives the guest what the host knows, and returns an encoded Clock.
func (a *agent) configure(q *protocol.Request) ([]byte, error) {
	var m protocol.Configure
	if err := q.Body(&m); err != nil {
		return nil, err
	}
	if m.Seed != "" {
		if err := a.addEntropy(m.Seed); err != nil {
			return nil, err
		}
	}
	if m.Time != 0 {
		tv := syscall.NsecToTimeval(m.Time)
		if err := syscall.Settimeofday(&tv); err != nil {
			return nil, fmt.Errorf("set the clock: %w", err)
		}
	}
	for _, link := range m.Links {
		if err := a.setLink(q.Context(), link); err != nil {
			return nil, err
		}
	}
	if m.Thaw {
		if err := a.thaw(); err != nil {
			return nil, err
		}
	}
	return protocol.Encode(&protocol.Clock{Time: time.Now().UnixNano()}), nil
}

// addEntropy adds a seed to the kernel's random numbers and makes them depend on it
// at once. Machines that resume from one saved state would draw the same numbers
// otherwise.
func (a *agent) addEntropy(seed string) error {
	fd, err := a.kernel.dev.openRaw("urandom", syscall.O_RDWR)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	const (
		addEntropy = 0x40085203 // RNDADDENTROPY
		reseed     = 0x5207     // RNDRESEEDCRNG
	)
	var pool struct { // struct rand_pool_info
		bits, size int32
		buf        [512]byte
	}
	if len(seed) > len(pool.buf) {
		return fmt.Errorf("a seed of %d bytes is too long, the limit is %d", len(seed), len(pool.buf))
	}
	pool.bits, pool.size = int32(len(seed)*8), int32(len(seed))
	copy(pool.buf[:], seed)
	if err := ioctl(fd, addEntropy, unsafe.Pointer(&pool)); err != nil {
		return fmt.Errorf("add entropy: %w", err)
	}
	if err := ioctl(fd, reseed, nil); err != nil {
		return fmt.Errorf("reseed the random number generator: %w", err)
	}
	return nil
}
