// Command guest is the init of a Linux guest on a network. The kernel got its
// address by DHCP. The guest serves a page, and executes commands from its serial
// port, one per line. It answers each with a line: "ok: " or "error: ", and a text.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Println("error:", err)
	}
	os.Exit(1) // the kernel panics, which ends the machine
}

func run() error {
	for _, fs := range []struct{ kind, path string }{{"devtmpfs", "/dev"}, {"proc", "/proc"}} {
		if err := syscall.Mount(fs.kind, fs.path, fs.kind, 0, ""); err != nil && !errors.Is(err, syscall.EBUSY) {
			return fmt.Errorf("mount %s: %w", fs.path, err)
		}
	}
	console, err := os.OpenFile("/dev/ttyS0", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	os.Stdout = console
	// The kernel's DHCP results have the syntax of resolv.conf.
	if err := errors.Join(os.MkdirAll("/etc", 0o755), os.Symlink("/proc/net/pnp", "/etc/resolv.conf")); err != nil {
		return err
	}
	listener, err := net.Listen("tcp4", ":80")
	if err != nil {
		return err
	}
	go http.Serve(listener, http.HandlerFunc(page))
	fmt.Println("ok: serving")
	for lines := bufio.NewScanner(console); lines.Scan(); {
		text, err := do(strings.Fields(lines.Text()))
		switch {
		case err != nil:
			fmt.Println("error:", err)
		case text != "":
			fmt.Println("ok:", text)
		}
	}
	return errors.New("the serial port was closed")
}

// page answers with the host name, or with the number of bytes in the path.
func page(w http.ResponseWriter, r *http.Request) {
	size, err := strconv.Atoi(r.URL.Path[1:])
	if err != nil {
		name, _ := os.Hostname()
		fmt.Fprint(w, "page of ", name)
		return
	}
	for block := make([]byte, 64<<10); size > 0; size -= len(block) {
		if _, err := w.Write(block[:min(size, len(block))]); err != nil {
			return
		}
	}
}

func do(words []string) (string, error) {
	switch {
	case len(words) == 0: // a console ends a line with two bytes
		return "", nil
	case words[0] == "addresses":
		return addresses()
	case words[0] == "lookup":
		found, err := net.LookupHost(words[1])
		return strings.Join(found, " "), err
	case words[0] == "ping":
		return ping(words[1:])
	case words[0] == "get":
		return get(words[1])
	case words[0] == "poweroff":
		return "", syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	}
	return "", fmt.Errorf("unknown command %q", words)
}

// addresses returns the host name, and the addresses and MTU of the first network card.
func addresses() (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", err
	}
	card, err := net.InterfaceByName("eth0")
	if err != nil {
		return "", err
	}
	addresses, err := card.Addrs()
	if err != nil {
		return "", err
	}
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil {
			return fmt.Sprint(name, " ", card.HardwareAddr, " ", ip, " ", card.MTU), nil
		}
	}
	return "", fmt.Errorf("eth0 has no IPv4 address, only %v", addresses)
}

// ping sends one echo request to a host, and waits for the answer for a number of
// seconds.
func ping(words []string) (string, error) {
	if len(words) != 2 {
		return "", fmt.Errorf("ping %q", words)
	}
	seconds, err := strconv.Atoi(words[1])
	if err != nil {
		return "", err
	}
	address, err := net.ResolveIPAddr("ip4", words[0])
	if err != nil {
		return "", err
	}
	conn, err := net.DialIP("ip4:icmp", nil, address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Duration(seconds) * time.Second))
	id := uint16(time.Now().UnixNano())
	// Request, checksum, identifier, sequence number 1.
	request := binary.BigEndian.AppendUint16([]byte{8, 0, 0, 0}, id)
	request = append(request, 0, 1)
	sum := 0x800 + uint32(id) + 1
	binary.BigEndian.PutUint16(request[2:], ^uint16(sum+sum>>16))
	if _, err := conn.Write(request); err != nil {
		return "", err
	}
	for {
		answer := make([]byte, 1500)
		n, from, err := conn.ReadFrom(answer) // without the IP header, unlike Read
		if err != nil {
			return "", err
		}
		// Type 0 is the answer. A guest that pings itself also receives its request.
		if n >= 8 && answer[0] == 0 && binary.BigEndian.Uint16(answer[4:]) == id {
			return "answer from " + from.String(), nil
		}
	}
}

// get returns a page, or the size and the time in milliseconds of a long page.
func get(url string) (string, error) {
	start := time.Now()
	response, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	first, err := io.ReadAll(io.LimitReader(response.Body, 100))
	if err != nil {
		return "", err
	}
	rest, err := io.Copy(io.Discard, response.Body)
	if rest == 0 || err != nil {
		return string(first), err
	}
	return fmt.Sprint(int64(len(first))+rest, " bytes in ", time.Since(start).Milliseconds(), " ms"), nil
}
