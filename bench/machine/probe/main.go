// Command probe runs in a guest and does there what the benchmark compares the agent
// with.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "true":
		return nil
	case len(args) > 2 && args[0] == "run":
		return repeat(args[1], args[2:])
	case len(args) == 3 && args[0] == "copy":
		return copyFile(args[2], args[1])
	}
	return errors.New("usage: probe true | run TIMES PROGRAM ARGUMENT... | copy FROM TO")
}

// repeat runs a program again and again.
func repeat(times string, args []string) error {
	n, err := strconv.Atoi(times)
	if err != nil {
		return err
	}
	for range n {
		p, err := os.StartProcess(args[0], args, &os.ProcAttr{Files: []*os.File{nil, nil, os.Stderr}})
		if err != nil {
			return err
		}
		state, err := p.Wait()
		if err != nil {
			return err
		}
		if !state.Success() {
			return fmt.Errorf("%q: %v", args, state)
		}
	}
	return nil
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
