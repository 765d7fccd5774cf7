// Command behaves is a test that behaves in the way that its first argument names.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "behaves:", err)
		os.Exit(1)
	}
}

func run(how string, args []string) error {
	switch how {
	case "exit":
		status, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		os.Exit(status)
	case "signal":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		time.Sleep(time.Hour)
	case "print":
		fmt.Println(strings.Join(args, "|"))
		wd, err := os.Getwd()
		fmt.Println(filepath.Base(wd), os.Getenv("SOME"), os.Getenv("TZ"))
		return err
	case "environment":
		variables := os.Environ()
		slices.Sort(variables)
		fmt.Println(strings.Join(variables, "\n"))
	case "write": // VARIABLE FILE STATUS: below a folder, or to the file itself
		status, err := strconv.Atoi(args[2])
		if err == nil {
			err = write(args[0], args[1])
		}
		if err != nil {
			return err
		}
		os.Exit(status)
	case "link": // as write, but a link that leads out
		return os.Symlink("/etc/passwd", filepath.Join(os.Getenv(args[0]), args[1]))
	case "links":
		folder := os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR")
		return errors.Join(write("TEST_UNDECLARED_OUTPUTS_DIR", "a file"), os.Mkdir(filepath.Join(folder, "folder"), 0o777),
			os.Symlink("../a file", filepath.Join(folder, "folder/link")))
	case "much": // MiB without a line break
		n, err := strconv.Atoi(args[0])
		block := bytes.Repeat([]byte{'x'}, 1<<20)
		for range n {
			os.Stdout.Write(block)
		}
		return err
	case "peak": // as much, and the most memory that the process that started this had
		if err := run("much", args); err != nil {
			return err
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", os.Getppid()))
		os.Stderr.Write(status)
		return err
	case "stacks":
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		fmt.Println("waiting")
		<-signals
		fmt.Println("the stacks")
		return write("TEST_UNDECLARED_OUTPUTS_DIR", "a file")
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		if err := errors.Join(write("TEST_UNDECLARED_OUTPUTS_DIR", "a file"), write("TEST_PREMATURE_EXIT_FILE", "")); err != nil {
			return err
		}
		fmt.Println("waiting")
		time.Sleep(time.Hour)
	case "hang": // for the host: the agent, which started this, stops when it has sent the line
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("waiting")
		time.Sleep(time.Second)
		if err := syscall.Kill(os.Getppid(), syscall.SIGSTOP); err != nil {
			return err
		}
		time.Sleep(time.Hour)
	case "daemon":
		return exec.Command(os.Args[0], "deaf").Start()
	case "closed":
		os.Stdout.Close()
		os.Stderr.Close()
	case "clock":
		return syscall.Settimeofday(&syscall.Timeval{Sec: 2e9})
	case "disk":
		return fill()
	case "network":
		return dropNetwork()
	case "memory":
		for all := []byte{1}; ; {
			all = append(all, all...)
		}
	case "deletes":
		return os.RemoveAll(os.Getenv("TEST_SRCDIR"))
	case "panic", "reboot":
		return os.WriteFile("/proc/sysrq-trigger", map[string][]byte{"panic": []byte("c"), "reboot": []byte("b")}[how], 0)
	case "input":
		n, err := io.Copy(io.Discard, os.Stdin)
		fmt.Println(n, "bytes of input")
		return err
	default:
		return fmt.Errorf("unknown way %q", how)
	}
	return nil
}

func write(variable, file string) error {
	return os.WriteFile(filepath.Join(os.Getenv(variable), file), []byte("written\n"), 0o666)
}

// fill fills the disk of the temporary folder, and makes room again.
func fill() error {
	path := filepath.Join(os.Getenv("TEST_TMPDIR"), "fill")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	for err == nil {
		_, err = f.Write(block)
	}
	fmt.Println(errors.Is(err, syscall.ENOSPC))
	return errors.Join(f.Close(), os.Remove(path))
}

// dropNetwork takes the loopback interface down.
func dropNetwork() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	var request struct { // struct ifreq
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:], "lo")
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return errno
	}
	lo, err := net.InterfaceByName("lo")
	if err == nil {
		fmt.Println(lo.Flags&net.FlagUp == 0)
	}
	return err
}
