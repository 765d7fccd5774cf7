// Command misbehave does in a guest what a guest should not do.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "misbehave:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: misbehave count | eat | fork | kill-parent | score | stat | seal")
	}
	switch args[0] {
	case "fork":
		return fork()
	case "count":
		return count()
	case "eat":
		return eat()
	case "kill-parent":
		return syscall.Kill(os.Getppid(), syscall.SIGKILL)
	case "score":
		score, err := os.ReadFile("/proc/self/oom_score_adj")
		fmt.Print(string(score))
		return err
	case "stat":
		stat, err := os.ReadFile("/proc/self/stat")
		fmt.Print(string(stat))
		return err
	case "seal":
		return seal()
	}
	return fmt.Errorf("unknown command %q", args[0])
}

// fork starts itself, as often and as fast as it can. So does each copy, in a session
// of its own.
func fork() error {
	for {
		// An error is the guest's limit. It does not end this process.
		syscall.ForkExec("/proc/self/exe", []string{"misbehave", "fork"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Setsid: true}})
	}
}

// eat uses all memory.
func eat() error {
	for {
		memory, err := syscall.Mmap(-1, 0, 16<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_POPULATE)
		if err != nil {
			return err
		}
		memory[0] = 1
	}
}

// count fails if other processes of this program run.
func count() error {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return err
	}
	n := 0
	for _, link := range links {
		if exe, err := os.Readlink(link); err == nil && exe == self {
			n++
		}
	}
	if n != 1 {
		return fmt.Errorf("%d processes run, want only this one", n)
	}
	return nil
}

// seal removes /tmp, and makes the root read-only.
func seal() error {
	return errors.Join(
		syscall.Unmount("/tmp", 0),
		os.Remove("/tmp"),
		syscall.Mount("", "/", "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""),
	)
}
