package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
)

// A guestTest is the test that a qemu_guest_test runs in its guest. Paths are rlocation
// paths.
type guestTest struct {
	Program  string   `json:"program"`
	Args     []string `json:"args"`     // of the test's own target
	Env      []string `json:"env"`      // names of the variables that BUILD files set
	Manifest string   `json:"manifest"` // a file with the rlocation path of each runfile in a line; "" for the whole tree without the machine's files
	User     string   `json:"user"`     // "" for root
}

const (
	// After Bazel's SIGTERM, the test may print its stacks for termGrace. If it does
	// not end, it is killed. A guest that does not end it within answerLimit hangs.
	// Outputs are copied until grace is over. Bazel kills all after 15 s by default.
	termGrace   = 5 * time.Second
	answerLimit = 2 * time.Second
	grace       = 12 * time.Second
)

// runInGuest runs a test in a guest, and ends with its exit status.
func runInGuest(c *config, args []string) error {
	interactive := len(args) > 0 && args[0] == "--interactive"
	if interactive {
		args = args[1:]
	}
	hold := slices.Contains(args, holdFlag)
	args = slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return arg == holdFlag })
	if hold && c.VM == "" {
		return errors.New(holdFlag + " needs a qemu_guest_test; it is not supported with --run_under")
	}
	status, err := c.GuestTest.run(c, args, interactive, hold)
	if err != nil {
		return err
	}
	os.Exit(status)
	return nil
}

// underGuestTest returns the test that --run_under=:vm runs, whose program is the first
// argument, relative to the working directory. It returns nil if there is no test.
func underGuestTest(args []string) *guestTest {
	if os.Getenv("TEST_TARGET") == "" || len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return nil
	}
	path, err := filepath.Abs(args[0])
	if err != nil {
		return nil
	}
	program, err := filepath.Rel(os.Getenv("TEST_SRCDIR"), path)
	if err != nil || !filepath.IsLocal(program) || !exists(path) {
		return nil
	}
	return &guestTest{Program: program}
}

func (g *guestTest) run(c *config, args []string, interactive, hold bool) (status int, err error) {
	dir, err := os.MkdirTemp(os.Getenv("TEST_TMPDIR"), "vm")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	logs := filepath.Join(dir, "logs")
	for _, path := range []string{logs, filepath.Join(dir, "machine")} {
		if err := os.Mkdir(path, 0o777); err != nil {
			return 0, err
		}
	}
	t := &inGuestTest{guestTest: g, machine: c.Runfiles, hasStore: c.Snapshot != nil && c.Snapshot.Runfiles, dir: dir, runfiles: os.Getenv("TEST_SRCDIR"), interactive: interactive, signals: make(chan os.Signal, 1)}
	signal.Notify(t.signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer func() {
		if err != nil || status != 0 {
			keepLogs(logs)
		}
	}()
	m, err := t.start(c, logs)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	status, err = t.runTest(m, args)
	if (err != nil || status != 0) && t.signaled.IsZero() && !t.interactive {
		m.CollectLogs()
	}
	if err != nil && !t.ended.Load() {
		err = m.Explain(err)
	}
	if hold && (err != nil || status != 0) && t.signaled.IsZero() && !t.ended.Load() {
		if err != nil && m.Running() {
			// The report of a guest that has been used would say less.
			err = m.Report(err)
			t.hold(c, m, err.Error())
			return 0, err
		}
		failure := fmt.Sprintf("it ended with exit status %d", status)
		if err != nil {
			failure = err.Error()
		}
		t.hold(c, m, failure)
	}
	if err != nil {
		m.Close()
		return 0, m.Report(err)
	}
	return status, nil
}

// keepLogs copies a machine's logs to the test's outputs.
func keepLogs(logs string) {
	outputs := os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR")
	if outputs == "" {
		return
	}
	// A failure here must not replace the test's.
	os.CopyFS(filepath.Join(outputs, "vm"), os.DirFS(logs))
}

// An inGuestTest is one run.
type inGuestTest struct {
	*guestTest
	machine     string            // rlocation path of the list of the machine's runfiles
	hasStore    bool              // the guest has files of tests since it was saved
	dir         string            // of the host, for this run
	runfiles    string            // the root of the runfiles on the host
	interactive bool              // a shell instead of the test
	paths       *strings.Replacer // of the host by those in the guest
	signals     chan os.Signal
	signaled    time.Time   // when the test got a signal
	ended       atomic.Bool // a signal ended the run, and perhaps the machine
}

// untilSignal returns a context that ends at a signal, while the run does what doing
// says. If the guest does not react, the machine ends, unless m is nil.
func (t *inGuestTest) untilSignal(m *vm.Machine, doing string) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		select {
		case s := <-t.signals:
			t.ended.Store(true)
			cancel(fmt.Errorf("while %s: %w", doing, stoppedBy(s)))
			if m != nil {
				time.AfterFunc(answerLimit, m.Stop)
			}
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// start starts the machine and waits until it is ready.
func (t *inGuestTest) start(c *config, logs string) (*vm.Machine, error) {
	ctx, stop := t.untilSignal(nil, "the machine started")
	defer stop()
	if c.Ready == nil {
		c.Ready = &machine.Ready{}
	}
	m, err := vm.Start(ctx, &c.Config, vm.Options{Dir: filepath.Join(t.dir, "machine"), Logs: logs, FailOn: c.FailOn, Agent: true, CloseTimeout: answerLimit})
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { time.AfterFunc(answerLimit, m.Stop) })()
	// A machine that resumes was ready when it was saved.
	if c.Snapshot == nil {
		err = m.WaitReady(ctx)
	} else {
		_, err = m.Agent(ctx)
	}
	if err != nil {
		m.Close()
		return nil, m.Report(fmt.Errorf("the machine did not get ready: %w", err))
	}
	return m, nil
}

// runTest copies the test to the guest, runs it, and copies its outputs back.
func (t *inGuestTest) runTest(m *vm.Machine, args []string) (int, error) {
	client, err := m.Agent(context.Background())
	if err != nil {
		return 0, err
	}
	if err := t.send(m, client); err != nil {
		return 0, err
	}
	cmd := t.inTest()
	cmd.Args = t.translateAll(append(append([]string{path.Join(guestRunfiles, t.Program)}, t.Args...), args...))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if t.interactive {
		fmt.Fprintf(os.Stderr, "This shell is in the guest, in the working directory of %s\n", cmd.Args[0])
		cmd.Args, cmd.Shell = nil, true
	}
	result, err := t.execute(m, client, cmd)
	if err != nil && t.interactive {
		return 0, err
	}
	if err != nil {
		return 0, t.explain(err, client, cmd)
	}
	if err := t.collect(m, client); err != nil {
		return 0, fmt.Errorf("the test ended with %v, and its outputs cannot be copied: %w", result, err)
	}
	if result.Signal != 0 {
		return 128 + int(result.Signal), nil // as a shell reports it
	}
	if result.ExitStatus == statusNotFound && !t.interactive {
		fmt.Fprintf(os.Stderr, "%s: exit status %d: if the output above names a program or a library, the guest (%s) does not have it\n", t.Program, statusNotFound, describe(client.Info()))
	}
	return result.ExitStatus, nil
}

// inTest returns a command that runs as the test does, without its arguments.
func (t *inGuestTest) inTest() vm.Command {
	return vm.Command{Env: t.environment(), Dir: t.workingDirectory(), User: t.User}
}

// execute runs the test. It gets the signals of Bazel, and is killed if it does not end
// then.
func (t *inGuestTest) execute(m *vm.Machine, client *agent.Client, cmd vm.Command) (agent.Result, error) {
	start := func() (*agent.Process, func(), error) {
		p, err := client.Start(context.Background(), cmd)
		return p, func() {}, err
	}
	if t.interactive {
		start = func() (*agent.Process, func(), error) { return startOnTerminal(context.Background(), client, cmd) }
	}
	p, restore, err := start()
	if err != nil {
		return agent.Result{}, err
	}
	defer restore()
	type outcome struct {
		agent.Result
		error
	}
	ended := make(chan outcome, 1)
	go func() {
		result, err := p.Wait()
		ended <- outcome{result, err}
	}()
	var kill, giveUp <-chan time.Time
	for {
		select {
		case o := <-ended:
			return o.Result, o.error
		case s := <-t.signals:
			go p.Signal(agent.Signal(s.(syscall.Signal)))
			// In a shell, Ctrl-C ends the command that runs there.
			if t.signaled.IsZero() && !(t.interactive && s == syscall.SIGINT) {
				t.signaled = time.Now()
				kill = time.After(termGrace)
			}
		case <-kill:
			go p.Signal(agent.SIGKILL)
			giveUp = time.After(answerLimit)
		case <-giveUp:
			t.ended.Store(true)
			return agent.Result{}, fmt.Errorf("the guest hangs: the test was to end %v ago, and the guest did not kill it", time.Since(t.signaled).Round(time.Second))
		}
	}
}
