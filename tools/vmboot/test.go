package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm"
)

// errLimit is the cause of a context that ends with the time limit.
var errLimit = &vm.TimeError{Text: "the time limit is over"}

// test runs a boot test. args are for its hooks.
func test(c *config, args []string) (err error) {
	limits, err := newLimits(c.Config.TimeLimit(time.Duration(c.TimeLimit)*time.Second), os.Getenv("TEST_TIMEOUT"))
	if err != nil {
		return err
	}
	ctx, cancel := untilSignal(context.Background())
	defer cancel()
	if limits.test > 0 {
		var stop func()
		ctx, stop = context.WithTimeoutCause(ctx, limits.test, errLimit)
		defer stop()
	}

	dir, err := os.MkdirTemp(os.Getenv("TEST_TMPDIR"), "vm")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	logs := os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR")
	if logs == "" {
		if logs, err = os.MkdirTemp("", "vmboot-outputs"); err != nil {
			return err
		}
		fmt.Printf("console.log and the other logs are in %s\n", logs)
	}
	hooks := &hooks{args: args}
	if err := boot(ctx, c, hooks, limits, vm.Options{
		Dir: dir, Logs: logs, FailOn: c.FailOn, CloseTimeout: limits.closing,
	}); err != nil {
		return err
	}
	return hooks.runAfter(ctx, c.RunAfter)
}

// untilSignal returns a context that ends at a signal, with the signal as its
// cause.
func untilSignal(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() {
		select {
		case s := <-signals:
			cancel(stoppedBy(s))
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// stoppedBy returns the error of a run that a signal ended.
func stoppedBy(s os.Signal) error {
	switch s {
	case syscall.SIGINT:
		return errors.New("stopped by SIGINT, as from Ctrl-C")
	case syscall.SIGHUP:
		return errors.New("stopped by SIGHUP, as from a terminal that was closed")
	}
	return errors.New("stopped by SIGTERM, which Bazel sends when a test's timeout is over or a build is canceled; if the test needs more time, set a longer timeout")
}

// boot runs the machine to its end and returns its failure.
func boot(ctx context.Context, c *config, hooks *hooks, limits limits, options vm.Options) error {
	if limits.machine > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeoutCause(ctx, limits.machine, errLimit)
		defer cancel()
	}
	// Without a program that could use it, the agent would only change the boot. A
	// guest that resumes gets the time and random numbers by it.
	options.Agent = c.RunWhileUp != "" || c.Snapshot != nil
	m, err := vm.Start(ctx, &c.Config, options)
	if err != nil {
		return err
	}
	defer hooks.close()
	if err := hooks.setMachine(c, m); err != nil {
		m.Close()
		return err
	}
	if err = watch(ctx, c, hooks, m, limits.machine); err != nil {
		m.CollectLogs()
	}
	var hook *hookError
	switch end := m.Close(); {
	case end.Failure != nil:
		err = end.Failure
	case !end.Stopped && errors.As(err, &hook):
		// QEMU ended first: that is why the hook failed.
		err = fmt.Errorf("%w; the machine had ended before: %v", err, end)
	}
	if err != nil {
		return m.Report(err)
	}
	return nil
}

// watch waits until a machine has passed or failed, and returns the failure. The
// machine still runs.
func watch(ctx context.Context, c *config, hooks *hooks, m *vm.Machine, limit time.Duration) error {
	if err := m.Expect(ctx, c.Expect...); err != nil {
		var expect *vm.ExpectError
		switch {
		case !errors.As(err, &expect) || expect.Err == nil:
			return err
		case errors.Is(expect.Err, errLimit):
			return &vm.TimeError{Text: fmt.Sprintf("the console did not show %q within %v", expect.Pattern, limit)}
		}
		return expect.Err
	}
	if c.RunWhileUp != "" {
		// A machine whose end is expected may end while the hook runs.
		if err := hooks.runWhileUp(ctx, c.RunWhileUp, m, c.ExitStatus != nil); err != nil {
			if errors.Is(err, errLimit) {
				return &vm.TimeError{Text: fmt.Sprintf("run_while_up did not end within %v", limit)}
			}
			return err
		}
	}
	if c.ExitStatus == nil {
		return nil
	}
	end, err := m.Wait(ctx)
	switch {
	case errors.Is(err, errLimit):
		return &vm.TimeError{Text: fmt.Sprintf("the guest did not end within %v", limit)}
	case err != nil:
		return err
	case end.Failure != nil:
		return end.Failure
	case *c.ExitStatus == 0 && !end.PoweredOff():
		return fmt.Errorf("%w, want a power-off", end.Err())
	case end.Signal != nil || end.ExitStatus != *c.ExitStatus:
		return fmt.Errorf("%w, want exit status %d", end.Err(), *c.ExitStatus)
	}
	return nil
}
