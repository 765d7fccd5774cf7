// Command client connects to the guest's servers, at the addresses in VM_TCP_80 and
// VM_UDP_80, and checks their answers.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	if err := errors.Join(ask("tcp", os.Getenv("VM_TCP_80")), ask("udp", os.Getenv("VM_UDP_80"))); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func ask(network, address string) error {
	conn, err := net.DialTimeout(network, address, 20*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if network == "udp" { // connecting does not send anything
		if _, err := conn.Write([]byte("?")); err != nil {
			return err
		}
	}
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	if err != nil {
		return err
	}
	if string(answer[:n]) != "the guest\n" {
		return fmt.Errorf("%s: got answer %q, want the guest's", network, answer[:n])
	}
	return nil
}
