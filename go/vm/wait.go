package vm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
)

const (
	// The pauses between two attempts, at first brief.
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// WaitFor runs a command again and again until it succeeds, for as long as limit
// allows, times Config.TimeLimitFactor; 0 is no limit but the context's. The error
// has the last failure.
func (m *Machine) WaitFor(ctx context.Context, cmd Command, limit time.Duration) error {
	return m.waitFor(ctx, fmt.Sprintf("%q did not succeed", cmd.Args), limit, func(ctx context.Context) (done bool, last string, err error) {
		var stdout, stderr Tail
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		result, err := m.Exec(ctx, cmd)
		return err == nil && result.Success(), fmt.Sprintf("last: %v%s", result, Outputs(&stdout, &stderr)), err
	})
}

// WaitForUnit waits until a unit of systemd is active, as WaitFor does. It does not wait
// for a unit that has failed: the error then has the end of its journal.
func (m *Machine) WaitForUnit(ctx context.Context, unit string, limit time.Duration) error {
	return m.waitFor(ctx, fmt.Sprintf("the unit %q is not active", unit), limit, func(ctx context.Context) (done bool, last string, err error) {
		var stdout, stderr Tail
		result, err := m.Exec(ctx, Command{Args: []string{"systemctl", "is-active", "--", unit}, Stdout: &stdout, Stderr: &stderr})
		if err == nil && !result.Success() && stdout.String() == "failed\n" {
			var journal Tail
			m.Exec(ctx, Command{Args: []string{"journalctl", "--boot", "--no-pager", "--lines=20", "--unit=" + unit}, Stdout: &journal})
			err = fmt.Errorf("the unit %q has failed%s", unit, Outputs(&journal, &stderr))
		}
		return err == nil && result.Success(), "last: systemctl is-active: " + result.String() + Outputs(&stdout, &stderr), err
	})
}

// WaitForPort waits until something accepts connections at a TCP port of the guest's
// 127.0.0.1, as WaitFor does. It needs no network and no program in the guest.
func (m *Machine) WaitForPort(ctx context.Context, port int, limit time.Duration) error {
	return m.waitFor(ctx, fmt.Sprintf("nothing accepts connections at port %d of the guest", port), limit, func(ctx context.Context) (done bool, last string, err error) {
		client, err := m.Agent(ctx)
		if err != nil {
			return false, "", err
		}
		conn, err := client.Dial(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if refused := (*agent.Error)(nil); errors.As(err, &refused) {
			return false, fmt.Sprintf("last: %v", err), nil
		} else if err != nil {
			return false, "", m.Explain(err)
		}
		conn.Close()
		return true, "", nil
	})
}

// WaitForFile waits until a file, folder, device or socket exists in the guest, as WaitFor
// does. It follows links. The path must be absolute.
func (m *Machine) WaitForFile(ctx context.Context, name string, limit time.Duration) error {
	return m.waitFor(ctx, fmt.Sprintf("%s does not exist in the guest", name), limit, func(ctx context.Context) (done bool, last string, err error) {
		err = m.withAgent(ctx, func(c *agent.Client) (err error) {
			done, err = c.Exists(ctx, name)
			return err
		})
		return done, "", err
	})
}

// waitFor tries again and again until an attempt is done or fails. last says why the last
// attempt was not done; it may be "".
func (m *Machine) waitFor(ctx context.Context, what string, limit time.Duration, try func(context.Context) (done bool, last string, err error)) error {
	if limit = m.TimeLimit(limit); limit > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeoutCause(ctx, limit, &TimeError{fmt.Sprintf("waited %v", limit)})
		defer cancel()
	}
	before := "it did not end once"
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		done, last, err := try(ctx)
		switch {
		case ctx.Err() != nil && before != "":
			return fmt.Errorf("%s: %w; %s", what, context.Cause(ctx), before)
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		case err != nil || done:
			return err
		}
		before = last
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}
