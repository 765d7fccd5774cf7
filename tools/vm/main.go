// Command vm uses a running machine from any language: it runs commands in the guest,
// copies files, waits for text on the console, takes screenshots.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/control"
)

const usage = `usage: vm COMMAND [OPTIONS] ARGUMENTS

Use the machine of the socket in $VM_SOCKET, or of -s SOCKET behind COMMAND:
  exec [-i] [-u USER] [-C DIR] [-e KEY=VALUE]... [-t TIME] [--] PROGRAM [ARGUMENT]...
                              run a command in the guest; its exit status is vm's
  shell [-u USER] [-C DIR] [-e KEY=VALUE]... [--] [PROGRAM [ARGUMENT]...]
                              run the shell of the guest's user, or a program, on this
                              terminal; without a terminal, a shell reads standard input
  copy HOST :GUEST            copy a file or folder into the guest
  copy :GUEST HOST            copy a file or folder out of the guest. As with cp, the
                              copy is in the second path if that is a folder
  wait-for [-u USER] [-t TIME] [--] PROGRAM [ARGUMENT]...
                              repeat a command in the guest until it succeeds
  wait-for-unit [-t TIME] UNIT
                              wait until a unit of systemd is active; an error if it
                              has failed
  wait-for-port [-t TIME] PORT
                              wait until something accepts connections at a TCP port
                              of the guest's 127.0.0.1
  wait-for-file [-t TIME] PATH
                              wait until a file exists in the guest
  expect [-t TIME] PATTERN... wait until the console shows the patterns, in order
  screenshot FILE             write the display to a PNG file
  forward PORT                make a TCP port of the guest's 127.0.0.1 reachable, and
                              print where: "127.0.0.1:34567". It needs no network
  ports                       print forwarded ports: "tcp:22 127.0.0.1:34567"
  poweroff                    make the guest power off, and wait for it
  reboot                      make the guest reboot, and wait for its agent
  reset                       reset the machine without asking the guest, and wait for
                              its agent
  stop                        end the machine as if its power were cut

Start a machine for the program that runs vm; it ends with that program:
  start [-t TIME] TARGET      boot a qemu_vm, by the path of its executable, wait
                              for its agent, and print the path of its socket

TIME is as in "90s" or "2m30s".
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	status, err := run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Print(usage)
		status = 0
	case err != nil:
		fmt.Fprintf(os.Stderr, "vm: %v\n", err)
		status = max(status, 1)
	}
	os.Exit(status)
}

// options are the options of all commands; each command accepts some of them.
type options struct {
	socket string
	stdin  bool
	user   string
	dir    string
	env    list
	limit  time.Duration
}

type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// parse parses the options of a command; accepted has their letters.
func parse(command, accepted string, args []string) (*options, []string, error) {
	o := &options{}
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	for _, letter := range accepted {
		switch letter {
		case 's':
			flags.StringVar(&o.socket, "s", os.Getenv(control.SocketVariable), "")
		case 'i':
			flags.BoolVar(&o.stdin, "i", false, "")
		case 'u':
			flags.StringVar(&o.user, "u", "", "")
		case 'C':
			flags.StringVar(&o.dir, "C", "", "")
		case 'e':
			flags.Var(&o.env, "e", "")
		case 't':
			flags.DurationVar(&o.limit, "t", 0, "")
		}
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, nil, err
		}
		return nil, nil, fmt.Errorf("%s: %w; see vm -h", command, err)
	}
	return o, flags.Args(), nil
}

// run runs vm with its arguments and returns its exit status.
func run(ctx context.Context, args []string) (int, error) {
	if len(args) == 0 {
		return 2, errors.New("a command is missing; see vm -h")
	}
	command, args := args[0], args[1:]
	switch command {
	case "-h", "-help", "--help", "help":
		return 0, flag.ErrHelp
	case "start":
		return 0, start(ctx, args)
	case serveCommand:
		return 0, serve(ctx, args)
	}
	accepted, ok := map[string]string{
		"copy": "s", "exec": "siuCet", "shell": "suCe", "expect": "st", "forward": "s", "ports": "s", "poweroff": "s", "reboot": "s", "reset": "s",
		"screenshot": "s", "stop": "s", "wait-for": "suCet", "wait-for-file": "st", "wait-for-port": "st", "wait-for-unit": "st",
	}[command]
	if !ok {
		return 2, fmt.Errorf("unknown command %q; see vm -h", command)
	}
	o, args, err := parse(command, accepted, args)
	if err != nil {
		return 2, err
	}
	request, err := newRequest(command, o, args)
	if err != nil {
		return 2, err
	}
	if o.socket == "" {
		return 2, fmt.Errorf("%s: $%s is not set; start a machine with vm start, or run in run_while_up", command, control.SocketVariable)
	}
	files, err := standardFiles(o.stdin || command == "shell")
	if err != nil {
		return 1, err
	}
	restore := func() {}
	if command == "shell" {
		if restore, err = useTerminal(request, &files); err != nil {
			return 1, err
		}
	}
	response, err := control.Do(ctx, o.socket, request, files)
	restore()
	if err != nil {
		return 1, err
	}
	for _, port := range sortedKeys(response.Ports) {
		fmt.Println(port, response.Ports[port])
	}
	if response.Address != "" {
		fmt.Println(response.Address)
	}
	if response.Signal != 0 {
		// As a shell reports it.
		return 128 + response.Signal, nil
	}
	return response.ExitStatus, nil
}

// newRequest turns the arguments of a command into a request.
func newRequest(command string, o *options, args []string) (*control.Request, error) {
	want := map[string]int{
		"copy": 2, "forward": 1, "screenshot": 1, "wait-for-file": 1, "wait-for-port": 1, "wait-for-unit": 1,
		"ports": 0, "poweroff": 0, "reboot": 0, "reset": 0, "stop": 0,
	}
	if n, ok := want[command]; ok && len(args) != n {
		return nil, fmt.Errorf("%s: got %d arguments, want %d; see vm -h", command, len(args), n)
	}
	if len(args) == 0 && (command == "exec" || command == "wait-for" || command == "expect") {
		return nil, fmt.Errorf("%s: an argument is missing; see vm -h", command)
	}
	run := &control.Exec{Args: toBytes(args), Env: toBytes(o.env), Dir: o.dir, User: o.user, Limit: o.limit}
	switch command {
	case "exec":
		return &control.Request{Exec: run}, nil
	case "shell":
		return &control.Request{Shell: run}, nil
	case "wait-for":
		return &control.Request{WaitFor: run}, nil
	case "expect":
		return &control.Request{Expect: &control.Expect{Patterns: args, Limit: o.limit}}, nil
	case "copy":
		return copyRequest(args[0], args[1])
	case "screenshot":
		path, err := filepath.Abs(args[0])
		return &control.Request{Screenshot: path}, err
	case "forward":
		port, err := parsePort(command, args[0])
		return &control.Request{Forward: port}, err
	case "wait-for-unit":
		return &control.Request{Wait: &control.Wait{Unit: args[0], Limit: o.limit}}, nil
	case "wait-for-port":
		port, err := parsePort(command, args[0])
		return &control.Request{Wait: &control.Wait{Port: port, Limit: o.limit}}, err
	case "wait-for-file":
		return &control.Request{Wait: &control.Wait{File: args[0], Limit: o.limit}}, nil
	case "poweroff":
		return &control.Request{PowerOff: true}, nil
	case "reboot":
		return &control.Request{Reboot: true}, nil
	case "reset":
		return &control.Request{Reset: true}, nil
	case "stop":
		return &control.Request{Stop: true}, nil
	}
	return &control.Request{Ports: true}, nil
}

func parsePort(command, text string) (int, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("%s: %q is not a TCP port; it must be a number from 1 to 65535", command, text)
	}
	return int(port), nil
}

// copyRequest copies between a path of the host and one of the guest, which
// begins with a colon. As with cp, a source that ends in "/." means the contents of a
// folder.
func copyRequest(from, to string) (*control.Request, error) {
	fromGuest, isFrom := strings.CutPrefix(from, ":")
	toGuest, isTo := strings.CutPrefix(to, ":")
	if isFrom == isTo {
		return nil, fmt.Errorf("copy: %q and %q: exactly one must be in the guest, as in :/etc/hosts", from, to)
	}
	into := from != "." && !strings.HasSuffix(from, "/.")
	c := &control.Copy{From: from, To: toGuest, ToGuest: true, Into: into}
	host := &c.From
	if isFrom {
		c = &control.Copy{From: fromGuest, To: to, Into: into}
		host = &c.To
	}
	var err error
	*host, err = filepath.Abs(*host)
	return &control.Request{Copy: c}, err
}

// standardFiles returns the standard files for a command in the guest.
func standardFiles(stdin bool) ([3]*os.File, error) {
	files := [3]*os.File{os.Stdin, os.Stdout, os.Stderr}
	if stdin {
		return files, nil
	}
	null, err := os.Open(os.DevNull)
	files[0] = null
	return files, err
}

func toBytes(args []string) [][]byte {
	var b [][]byte
	for _, arg := range args {
		b = append(b, []byte(arg))
	}
	return b
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
