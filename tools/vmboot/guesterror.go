package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
)

// statusNotFound is the exit status of a shell, of env and of the dynamic linker if a
// program or a library is missing.
const statusNotFound = 127

// describe names the guest's system.
func describe(guest agent.Info) string {
	if guest.OSName != "" {
		return guest.OSName
	}
	return "Linux " + guest.Kernel
}

// explain adds to an error of a program's start the file that the guest does not have.
func (t *inGuestTest) explain(err error, client *agent.Client, cmd vm.Command) error {
	program, located := runfiles.Rlocation(t.Program)
	if located != nil {
		return err
	}
	guest := client.Info()
	switch guestErrno(err) {
	case syscall.ENOENT:
		if interpreter := interpreterOf(program); interpreter != "" {
			return fmt.Errorf("%s needs %s, which the guest (%s) does not have; add it to the guest, or link the test statically", t.Program, interpreter, describe(guest))
		}
	case syscall.ENOEXEC:
		return fmt.Errorf("%s is not a program for the guest, which is %s; set platform, or use a machine with the test's architecture", t.Program, guest.Arch)
	}
	return fmt.Errorf("%s: %w", cmd.Args[0], err)
}

// guestErrno returns the error number of the guest's system, 0 if it has none.
func guestErrno(err error) syscall.Errno {
	var guest *agent.Error
	if errors.As(err, &guest) {
		return syscall.Errno(guest.Errno)
	}
	return 0
}

// interpreterOf returns the path of the program that the kernel needs to run another
// one: that of a script, or the dynamic linker. It returns "" if there is none.
func interpreterOf(program string) string {
	f, err := os.Open(program)
	if err != nil {
		return ""
	}
	defer f.Close()
	line := make([]byte, 256)
	n, _ := f.Read(line)
	if script, ok := strings.CutPrefix(string(line[:n]), "#!"); ok {
		line, _, _ := strings.Cut(script, "\n")
		if fields := strings.Fields(line); len(fields) > 0 {
			return fields[0]
		}
		return ""
	}
	binary, err := elf.NewFile(f)
	if err != nil {
		return ""
	}
	for _, segment := range binary.Progs {
		if segment.Type == elf.PT_INTERP {
			name, err := io.ReadAll(segment.Open())
			if err == nil {
				return strings.TrimRight(string(name), "\x00")
			}
		}
	}
	return ""
}
