// Command provision copies a qcow2 image and writes to the copy.
package main

import (
	"fmt"
	"os"
	"os/exec"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: provision QEMU-IO IMAGE OUTPUT [COMMAND...]")
		os.Exit(2)
	}
	if err := provision(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, "provision:", err)
		os.Exit(1)
	}
}

func provision(qemuIO, image, output string, commands []string) error {
	b, err := os.ReadFile(image)
	if err != nil {
		return err
	}
	if err := os.WriteFile(output, b, 0o644); err != nil {
		return err
	}
	args := []string{"-f", "qcow2"}
	for _, command := range commands {
		args = append(args, "-c", command)
	}
	out, err := exec.Command(qemuIO, append(args, output)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("qemu-io: %w: %s", err, out)
	}
	return nil
}
