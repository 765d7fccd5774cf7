// Command program runs in the guest: it stands for a program under test.
package main

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "program:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("usage: program echo WORD... | log LINE | environment NAME | exit STATUS | zeros | killed | upper | serve ADDRESS | serve-tls ADDRESS CERTIFICATE KEY | get URL | tls CERTIFICATE KEY | background COMMAND... | talk ADDRESS FILE | random | cpus | sync | now | record FILE | burn DURATION FILE | stop-agent | monotonic | terminal")
	}
	switch command, args := args[0], args[1:]; command {
	case "echo":
		fmt.Println(strings.Join(args, " "))
	case "log":
		console, err := os.OpenFile("/dev/console", os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer console.Close()
		_, err = fmt.Fprintln(console, args[0])
		return err
	case "environment":
		dir, err := os.Getwd()
		if err != nil {
			return err
		}
		fmt.Printf("%s in %s\n", os.Getenv(args[0]), dir)
	case "killed":
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "exit":
		status, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "the status is", status)
		os.Exit(status)
	case "terminal":
		return useTerminal()
	case "zeros":
		for b := make([]byte, 1<<20); ; {
			if _, err := os.Stdout.Write(b); err != nil {
				return err
			}
		}
	case "upper":
		text, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		fmt.Print(strings.ToUpper(string(text)))
	case "serve", "serve-tls":
		listener, err := net.Listen("tcp", args[0])
		if err != nil {
			return err
		}
		fmt.Println("listening")
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "hello from %s", r.URL.Path)
		})
		if command == "serve-tls" {
			return http.ServeTLS(listener, handler, args[1], args[2])
		}
		return http.Serve(listener, handler)
	case "get":
		response, err := http.Get(args[0])
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, err = io.Copy(os.Stdout, response.Body)
		return err
	case "tls":
		return connectTLS(args[0], args[1])
	case "background":
		// The server listens when this command ends.
		server := exec.Command("/proc/self/exe", args...)
		output, err := server.StdoutPipe()
		if err != nil {
			return err
		}
		if err := server.Start(); err != nil {
			return err
		}
		_, err = output.Read(make([]byte, 1))
		return err
	case "talk":
		return talk(args[0], args[1])
	case "random":
		random := make([]byte, 32)
		rand.Read(random)
		fmt.Printf("%x\n", random)
	case "cpus":
		// Each processor runs something.
		var running sync.WaitGroup
		for range runtime.NumCPU() {
			running.Add(1)
			go func() {
				defer running.Done()
				for range 1 << 20 {
				}
			}()
		}
		running.Wait()
		fmt.Println(runtime.NumCPU())
	case "sync":
		syscall.Sync()
	case "record":
		// Until it ends, the time and a random number, again and again.
		file, err := os.Create(args[0])
		if err != nil {
			return err
		}
		fmt.Println("recording")
		for ; ; time.Sleep(20 * time.Millisecond) {
			random := make([]byte, 16)
			rand.Read(random)
			if _, err := fmt.Fprintf(file, "%d %x\n", time.Now().UnixNano(), random); err != nil {
				return err
			}
		}
	case "burn":
		duration, err := time.ParseDuration(args[0])
		if err != nil {
			return err
		}
		fmt.Println("burning")
		for begin := time.Now(); time.Since(begin) < duration; {
		}
		return os.WriteFile(args[1], nil, 0o600)
	case "monotonic":
		return checkMonotonic()
	case "stop-agent":
		return stopAgent()
	case "now":
		fmt.Println(time.Now().UnixNano())
	default:
		return fmt.Errorf("unknown command %q", command)
	}
	return nil
}

// talk connects to an address. As soon as a file exists, it writes to the connection, reads
// from it, and writes the error of that to the file.
func talk(address, file string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("connected")
	for {
		if _, err := os.Stat(file); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err = conn.Write([]byte("hello")); err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	return os.WriteFile(file, []byte(fmt.Sprint(err)), 0o600)
}

// useTerminal shows the size of the terminal, also after each change, until Ctrl-C. It leaves
// the terminal for a new one.
func useTerminal() error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGWINCH, syscall.SIGINT)
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	var group int32
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, tty.Fd(), syscall.TIOCGPGRP, uintptr(unsafe.Pointer(&group))); errno != 0 {
		return errno
	}
	name, err := os.Readlink("/proc/self/fd/0")
	if err != nil {
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	fmt.Printf("%s of user %d in the foreground: %t, %s\n", path.Dir(name), info.Sys().(*syscall.Stat_t).Uid, int(group) == syscall.Getpgrp(), os.Getenv("TERM"))
	for {
		var size [4]uint16
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, 1, syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size))); errno != 0 {
			return errno
		}
		fmt.Printf("%d rows, %d columns\n", size[0], size[1])
		if <-signals == syscall.SIGINT {
			fmt.Println("interrupted")
			os.Exit(7)
		}
	}
}

// stopAgent stops the agent as soon as that has frozen the commands' cgroups, of which this
// process is in none.
func stopAgent() error {
	const groups = "/cgroups"
	if err := os.MkdirAll(groups, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("cgroup2", groups, "cgroup2", 0, ""); err != nil {
		return err
	}
	if err := os.WriteFile(groups+"/cgroup.procs", []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return err
	}
	// The parent of a command is the agent.
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", os.Getppid()))
	if err != nil {
		return err
	}
	_, line, _ := strings.Cut(string(status), "PPid:")
	agent, err := strconv.Atoi(strings.Fields(line)[0])
	if err != nil {
		return err
	}
	fmt.Println("waiting")
	for {
		events, err := os.ReadFile(groups + "/rules_qcow2_agent/cgroup.events")
		if err != nil {
			return err
		}
		if strings.Contains(string(events), "frozen 1") {
			break
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(10 * time.Millisecond) // the agent answers; the machine may be saved and resume now
	return syscall.Kill(agent, syscall.SIGSTOP)
}

// checkMonotonic reads the clock in turn on all processors: it never goes back.
func checkMonotonic() error {
	var reading sync.Mutex
	var last time.Time
	var back error
	begin := time.Now()
	var running sync.WaitGroup
	for cpu := range runtime.NumCPU() {
		running.Add(1)
		go func() {
			defer running.Done()
			runtime.LockOSThread()
			mask := [16]uint64{1 << cpu}
			if _, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, uintptr(len(mask)*8), uintptr(unsafe.Pointer(&mask))); errno != 0 {
				panic(errno)
			}
			for time.Since(begin) < time.Second {
				reading.Lock()
				now := time.Now()
				if d := now.Sub(last); !last.IsZero() && d < 0 {
					back = fmt.Errorf("the clock of processor %d is %v behind that of another one", cpu, -d)
				}
				last = now
				reading.Unlock()
				runtime.Gosched()
			}
		}()
	}
	running.Wait()
	return back
}

// connectTLS connects to itself with a certificate that it trusts, from a PEM file: both
// ends then depend on the clock only.
func connectTLS(certificate, key string) error {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	client, server := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- tls.Server(server, &tls.Config{Certificates: []tls.Certificate{pair}}).Handshake() }()
	if err := tls.Client(client, &tls.Config{RootCAs: roots, ServerName: pair.Leaf.DNSNames[0]}).Handshake(); err != nil {
		return err
	}
	return <-served
}
