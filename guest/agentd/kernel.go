//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// dir is an open directory. The agent opens /proc, /sys and the others once: under
// an initrd's init these paths come and go, and a guest may lack them.
type dir int

const noDir dir = -1

func openDir(path string) (dir, error) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return noDir, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return dir(fd), nil
}

// open opens a file below d. The result is in nonblocking mode, so that closing it
// ends reads and writes.
func (d dir) open(name string, flags int) (*os.File, error) {
	fd, err := d.openRaw(name, flags)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (d dir) openRaw(name string, flags int) (fd int, err error) {
	if d == noDir {
		return -1, &os.PathError{Op: "open", Path: name, Err: syscall.ENOENT}
	}
	for {
		fd, err := syscall.Openat(int(d), name, flags|syscall.O_CLOEXEC|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return -1, &os.PathError{Op: "open", Path: name, Err: err}
		}
		return fd, nil
	}
}

// maxKernelFile bounds, in bytes, the content that read returns.
const maxKernelFile = 1 << 20

// read returns the content of a file of the kernel. It never waits, so it does without
// os.File, which would be half of the work in a guest that resumes.
func (d dir) read(name string) (string, error) {
	fd, err := d.openRaw(name, syscall.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer syscall.Close(fd)
	b := make([]byte, 0, 4096)
	for len(b) < maxKernelFile {
		if len(b) == cap(b) {
			b = append(b, make([]byte, len(b))...)[:len(b)]
		}
		n, err := syscall.Read(fd, b[len(b):cap(b)])
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return "", &os.PathError{Op: "read", Path: name, Err: err}
		}
		if n == 0 {
			break
		}
		b = b[:len(b)+n]
	}
	return string(b), nil
}

func (d dir) list(name string) ([]string, error) {
	f, err := d.open(name, syscall.O_RDONLY|syscall.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// write writes to a file that exists.
func (d dir) write(name, content string) error {
	fd, err := d.openRaw(name, syscall.O_WRONLY)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	if _, err := syscall.Write(fd, []byte(content)); err != nil {
		return &os.PathError{Op: "write", Path: name, Err: err}
	}
	return nil
}

// folders returns the names of the folders in a folder.
func (d dir) folders(name string) ([]string, error) {
	f, err := d.open(name, syscall.O_RDONLY|syscall.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	var names []string
	for _, entry := range entries {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names, err
}

func (d dir) readlink(name string) (string, error) {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return "", err
	}
	target := make([]byte, 4096)
	n, _, errno := syscall.Syscall6(syscall.SYS_READLINKAT, uintptr(d), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&target[0])), uintptr(len(target)), 0, 0)
	if errno != 0 {
		return "", &os.PathError{Op: "readlink", Path: name, Err: errno}
	}
	return string(target[:n]), nil
}

func (d dir) mkdir(name string) error { return syscall.Mkdirat(int(d), name, 0o755) }

func (d dir) rmdir(name string) error {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	const removeDir = 0x200 // AT_REMOVEDIR
	if _, _, errno := syscall.Syscall(syscall.SYS_UNLINKAT, uintptr(d), uintptr(unsafe.Pointer(p)), removeDir); errno != 0 {
		return errno
	}
	return nil
}

// kernelDirs are the kernel's own file systems.
type kernelDirs struct {
	proc, sys, dev dir
	cgroup         dir // version 2, or noDir
}

// availableMemory returns the number of bytes that programs can still use.
func (k kernelDirs) availableMemory() (int64, error) {
	content, err := k.proc.read("meminfo")
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(content, "MemAvailable:")
	fields := strings.Fields(after)
	if len(fields) == 0 {
		return 0, errors.New("/proc/meminfo does not have MemAvailable")
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	return kib << 10, err
}

// openKernelDirs opens the file systems that the guest has mounted.
func openKernelDirs() (kernelDirs, error) {
	k := kernelDirs{noDir, noDir, noDir, noDir}
	var err error
	if k.proc, err = openDir("/proc"); err != nil {
		return k, err
	}
	k.sys, _ = openDir("/sys")
	if k.dev, err = openDir("/dev"); err != nil {
		return k, err
	}
	for _, path := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st syscall.Statfs_t
		const cgroup2Magic = 0x63677270
		if syscall.Statfs(path, &st) == nil && st.Type == cgroup2Magic {
			k.cgroup, _ = openDir(path)
		}
	}
	return k, nil
}

// cgroupOf returns the cgroup of a process, relative to the root: "" for the root, or if it
// is not known.
func (k kernelDirs) cgroupOf(pid string) string {
	groups, _ := k.proc.read(pid + "/cgroup")
	for line := range strings.Lines(groups) {
		if path, ok := strings.CutPrefix(line, "0::/"); ok {
			return strings.TrimSpace(path)
		}
	}
	return ""
}

// pid1 returns the name of the program of process 1, "" if it is not known. The name
// that process 1 has given itself may come later.
func (k kernelDirs) pid1() string {
	exe, err := k.proc.readlink("1/exe")
	if err != nil {
		return ""
	}
	return filepath.Base(strings.TrimSuffix(exe, " (deleted)"))
}

// pid1Takes reports whether systemd, as process 1, has begun to take a signal: it blocks those
// that it reads from a signalfd. Before that, early in a boot, the kernel drops them.
func (k kernelDirs) pid1Takes(signal syscall.Signal) bool {
	status, _ := k.proc.read("1/status") // proc_pid_status(5)
	_, blocked, _ := strings.Cut(status, "\nSigBlk:\t")
	blocked, _, _ = strings.Cut(blocked, "\n")
	mask, err := strconv.ParseUint(blocked, 16, 64)
	return err == nil && mask>>(signal-1)&1 != 0
}

// openPort opens the virtio-serial port of this name. The numbers of ports vary.
func (k kernelDirs) openPort(name string) (*os.File, error) {
	const class = "class/virtio-ports"
	// The class is not there before virtio_console is.
	ports, _ := k.sys.list(class)
	for _, port := range ports {
		if have, err := k.sys.read(class + "/" + port + "/name"); err == nil && strings.TrimSpace(have) == name {
			return k.dev.open(port, syscall.O_RDWR)
		}
	}
	return nil, fmt.Errorf("no virtio-serial port is named %s", name)
}

// openTTY opens a serial line, and makes it pass all bytes as they are.
func openTTY(path string) (*os.File, error) {
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	var t syscall.Termios
	if err := ioctl(fd, syscall.TCGETS, unsafe.Pointer(&t)); err != nil {
		syscall.Close(fd)
		return nil, &os.PathError{Op: "get attributes of", Path: path, Err: err}
	}
	// As cfmakeraw does. CLOCAL: do not wait for a modem.
	t.Iflag, t.Oflag, t.Lflag = syscall.IGNBRK, 0, 0
	t.Cflag = syscall.CS8 | syscall.CREAD | syscall.CLOCAL | syscall.B115200
	t.Ispeed, t.Ospeed = syscall.B115200, syscall.B115200
	t.Cc[syscall.VMIN], t.Cc[syscall.VTIME] = 1, 0
	if err := ioctl(fd, syscall.TCSETS, unsafe.Pointer(&t)); err != nil {
		syscall.Close(fd)
		return nil, &os.PathError{Op: "set attributes of", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
