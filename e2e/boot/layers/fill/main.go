// Command fill writes one byte again and again to the first disk of its guest, or ends
// the guest in a way that a build must survive.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// What to write: a byte in hexadecimal, offset and length in KiB; or panic, hang, reboot,
// online or offline. The build sets it.
var what string

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "fill:", err)
		os.Exit(1)
	}
}

func run() error {
	switch what {
	case "panic":
		return os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)
	case "hang":
		fmt.Println("hanging")
		time.Sleep(time.Hour)
	case "reboot":
		return os.WriteFile("/proc/sysrq-trigger", []byte("b"), 0)
	case "offline":
		// No network card: the kernel makes lo.
		if cards, err := os.ReadDir("/sys/class/net"); err != nil || len(cards) != 1 {
			return fmt.Errorf("network cards: %v, %v", cards, err)
		}
		return nil
	case "online":
		// QEMU's user network: this is the host, which does not listen at the port.
		if _, err := net.DialTimeout("tcp", "10.0.2.2:1", time.Minute); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("the network does not answer: %v", err)
		}
		return nil
	}
	var value byte
	var offset, length int
	if _, err := fmt.Sscanf(what, "%x %dK %dK", &value, &offset, &length); err != nil {
		return fmt.Errorf("%q: %w", what, err)
	}
	disk, err := os.OpenFile("/dev/vda", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := disk.WriteAt(bytes.Repeat([]byte{value}, length<<10), int64(offset)<<10); err != nil {
		return err
	}
	if err := disk.Sync(); err != nil {
		return err
	}
	fmt.Printf("wrote %s\n", what)
	return disk.Close()
}
