// Command client asks the guest's servers, at the addresses that the test has
// for them, who is there.
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
	if network == "udp" { // where a connection says nothing yet
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
		return fmt.Errorf("the answer over %s is %q", network, answer[:n])
	}
	return nil
}
