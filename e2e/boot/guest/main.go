// Command guest is the init of a Linux guest that checks its disks.
//
// Linux passes kernel parameters that it does not know in the environment: `disks`
// lists the block devices to check, `files` names the disk of files to print, and
// `then` is the next action: "panic", "hang", "serve", "agent", which starts the agent
// that the initial RAM disk has, or by default a power-off.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

const mib = 1 << 20

// layers is the data of the layers in the chain: see //:BUILD.bazel.
var layers = []struct {
	name     string
	from, to int64
	contents byte
}{
	{"base", 0, mib, 'B'},
	{"first", mib, 2 * mib, '1'},
	{"second", 2*mib - 128<<10, 2 * mib, '2'}, // over data of the first
	{"second", 2 * mib, 3 * mib, '2'},
	{"base", 3 * mib, 4 * mib, 'B'},
	{"top", 4 * mib, 8 * mib, 0}, // past the end of the layers below
}

// writes are the offsets of the guest's writes: in the middle of the base's data, and
// at the end.
var writes = []int64{3*mib + 4096, 8*mib - 4096}

func main() {
	if err := prepare(); err != nil {
		fail(err)
	}
	fmt.Println("guest: running")
	firmware := "BIOS"
	if _, err := os.Stat("/sys/firmware/efi"); err == nil {
		firmware = "UEFI"
	}
	fmt.Printf("guest: firmware %s\n", firmware)
	if files := os.Getenv("files"); files != "" {
		if err := showFiles(files); err != nil {
			fail(err)
		}
	}
	for _, disk := range strings.Split(os.Getenv("disks"), ",") {
		if disk == "" {
			continue
		}
		if err := use(disk); err != nil {
			fail(fmt.Errorf("%s: %w", disk, err))
		}
		fmt.Printf("guest: %s has the expected data, and is written\n", disk)
	}
	switch os.Getenv("then") {
	case "panic":
		os.Exit(1) // the kernel panics when init ends
	case "serve":
		fail(serve())
	case "agent":
		console := os.Stdout.Fd()
		if _, err := syscall.ForkExec("/agent", []string{"/agent"}, &syscall.ProcAttr{Files: []uintptr{console, console, console}}); err != nil {
			fail(err)
		}
		time.Sleep(time.Hour)
	case "hang":
		fmt.Println("guest: hanging")
		time.Sleep(time.Hour)
	}
	fmt.Println("guest: powering off")
	end(syscall.LINUX_REBOOT_CMD_POWER_OFF)
}

// prepare mounts file systems and opens the console.
func prepare() error {
	for _, fs := range []struct{ kind, path string }{{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}} {
		if err := os.MkdirAll(fs.path, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(fs.kind, fs.path, fs.kind, 0, ""); err != nil && !errors.Is(err, syscall.EBUSY) {
			return fmt.Errorf("mount %s: %w", fs.path, err)
		}
	}
	console, err := os.OpenFile("/dev/console", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	os.Stdout, os.Stderr = console, console
	return nil
}

// use checks a disk against the layers, and writes to it.
func use(disk string) error {
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	for range 50 { // drivers may need time
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			break
		}
		time.Sleep(100 * time.Millisecond)
		f, err = os.OpenFile(disk, os.O_RDWR, 0)
	}
	if err != nil {
		return err
	}
	size, err := f.Seek(0, 2)
	if err != nil {
		return err
	}
	if want := layers[len(layers)-1].to; size != want {
		return fmt.Errorf("the disk has %d bytes, want %d", size, want)
	}
	for i, layer := range layers {
		to := layer.to
		if i+1 < len(layers) {
			to = min(to, layers[i+1].from)
		}
		got := make([]byte, to-layer.from)
		if _, err := f.ReadAt(got, layer.from); err != nil {
			return err
		}
		if !bytes.Equal(got, bytes.Repeat([]byte{layer.contents}, len(got))) {
			return fmt.Errorf("bytes %d to %d are not those of layer %s", layer.from, to, layer.name)
		}
		fmt.Printf("guest: %s shows layer %s\n", disk, layer.name)
	}
	for _, offset := range writes {
		if _, err := f.WriteAt(bytes.Repeat([]byte{'W'}, 4096), offset); err != nil {
			return err
		}
	}
	return errors.Join(f.Sync(), f.Close())
}

// showFiles prints the files on a disk.
func showFiles(disk string) error {
	if err := os.MkdirAll("/files", 0o755); err != nil {
		return err
	}
	if err := syscall.Mount(disk, "/files", "vfat", syscall.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount %s: %w", disk, err)
	}
	entries, err := os.ReadDir("/files")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		b, err := os.ReadFile("/files/" + entry.Name())
		if err != nil {
			return err
		}
		fmt.Printf("guest: file %s: %q\n", entry.Name(), b)
	}
	return nil
}

// serve answers each client at TCP and UDP port 80, until an error. It does not use the
// package net, which may need a C library.
func serve() error {
	listener, err := bind(syscall.SOCK_STREAM)
	if err != nil {
		return err
	}
	if err := syscall.Listen(listener, 1); err != nil {
		return err
	}
	datagrams, err := bind(syscall.SOCK_DGRAM)
	if err != nil {
		return err
	}
	go func() {
		for {
			if _, asker, err := syscall.Recvfrom(datagrams, make([]byte, 1), 0); err == nil {
				syscall.Sendto(datagrams, []byte(answer), 0, asker)
			}
		}
	}()
	fmt.Println("guest: serving")
	for {
		conn, _, err := syscall.Accept(listener)
		if err != nil {
			return err
		}
		syscall.Write(conn, []byte(answer))
		syscall.Close(conn)
	}
}

const answer = "the guest\n"

func bind(kind int) (int, error) {
	socket, err := syscall.Socket(syscall.AF_INET, kind, 0)
	if err != nil {
		return -1, err
	}
	return socket, syscall.Bind(socket, &syscall.SockaddrInet4{Port: 80})
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "guest: FAILED:", err)
	os.Exit(1)
}

// end ends the machine after the console's output has been written.
func end(how int) {
	syscall.Syscall(syscall.SYS_IOCTL, os.Stdout.Fd(), 0x5409 /* TCSBRK */, 1)
	syscall.Sync()
	syscall.Reboot(how)
}
