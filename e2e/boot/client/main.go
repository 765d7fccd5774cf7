// Command client asks the guest's server, at the address that the test has for
// it, who is there.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

func main() {
	if err := ask(os.Getenv("VM_TCP_80")); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func ask(address string) error {
	conn, err := net.DialTimeout("tcp", address, 20*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	answer, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if string(answer) != "the guest\n" {
		return fmt.Errorf("the answer is %q", answer)
	}
	return nil
}
