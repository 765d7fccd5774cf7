package vm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/qemu"
)

const (
	// After a match of FailOn, the console is read until the guest is silent
	// for settle, and for settleLimit at most.
	settle      = 300 * time.Millisecond
	settleLimit = 2 * time.Second
)

// An End says how a machine ended.
type End struct {
	ExitStatus int       // of QEMU
	Signal     os.Signal // that killed QEMU; nil if none did, or if the machine was to end
	// Reason is QEMU's reason for the end of the guest: guest-shutdown,
	// guest-reset or guest-panic; "" if the guest did not end.
	Reason string
	// Failure is the error that ended the machine: a line on its console that
	// means a crash, an internal error of KVM, a full disk of the host.
	Failure error
	// Stopped reports whether Stop or Close ended the machine.
	Stopped bool
	// Frozen reports whether Freeze ended the machine.
	Frozen bool

	debugExit bool // the guest can choose ExitStatus
}

// PoweredOff reports whether the guest powered off. A reboot does not count.
func (e End) PoweredOff() bool {
	return e.Failure == nil && e.Signal == nil && e.ExitStatus == 0 && e.Reason == "guest-shutdown"
}

// String returns a clause: "the guest powered off".
func (e End) String() string {
	s := fmt.Sprintf("QEMU ended with exit status %d", e.ExitStatus)
	if e.Signal != nil {
		s = fmt.Sprintf("QEMU was killed by signal %d (%[1]v)", e.Signal)
	}
	switch {
	case e.Frozen:
		return "the machine is frozen and does not run any more; use a fork"
	case e.Reason == "guest-shutdown" && e.Signal == nil && e.ExitStatus == 0:
		return "the guest powered off"
	case e.Reason == "guest-shutdown":
		return s
	case e.Reason == "guest-reset":
		return "the guest reset the machine"
	case e.Reason == "guest-panic":
		return "the guest reported a panic"
	case e.Reason != "":
		return s + " (" + e.Reason + ")"
	}
	return s
}

// finish records why the machine ends. The first reason counts.
func (m *Machine) finish(end End) {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.ended:
	default:
		m.end = end
		close(m.ended)
	}
}

// supervise brings the machine to its end. gone closes when QEMU has ended and
// all of its output has been read.
func (m *Machine) supervise(gone <-chan struct{}) {
	select {
	case <-m.ended:
	case <-gone:
	case <-m.monitor().Closed():
		m.awaitExit(gone)
	case <-m.console.failed:
		m.settle(gone)
	case <-m.stop:
		m.finish(End{Stopped: true})
	}
	killed := false
	select {
	case <-gone:
	default:
		killed = m.quit(gone)
	}
	m.finish(End{})
	exit := m.process.Exit()
	if killed {
		// It ended because the machine did, whatever QEMU had left to do.
		exit = qemu.Exit{}
	}
	var failed error
	if exit.Err != nil {
		failed = failure{exit.Err, ErrHost}
	}
	if pattern, line := m.console.failureLine(); pattern != "" {
		failed = failure{fmt.Errorf("console matched fail_on pattern %q: %q", pattern, short(line)), ErrGuest}
	}
	m.mu.Lock()
	m.end.ExitStatus, m.end.Signal, m.end.debugExit = exit.Status, exit.Signal, m.config.DebugExit
	// A QEMU that crashed just before Stop did not end because of it.
	m.end.Stopped = m.end.Stopped && exit.Signal == nil && exit.Status == 0
	if failed != nil {
		m.end.Failure = failed
	}
	m.mu.Unlock()
	m.logs.close()
	m.detach()
	close(m.done)
}

// awaitExit waits for QEMU's end after it has closed its monitor. Without the monitor
// a QEMU that runs on is of no use.
func (m *Machine) awaitExit(gone <-chan struct{}) {
	select {
	case <-gone:
	case <-m.stop:
		m.finish(End{Stopped: true})
	case <-time.After(m.options.CloseTimeout):
		m.finish(End{Failure: failure{m.monitor().Reason(), ErrHost}})
	}
}

// settle waits until the guest has said more about its failure.
func (m *Machine) settle(gone <-chan struct{}) {
	limit := time.After(m.config.TimeLimit(settleLimit))
	for {
		quiet := time.Until(m.console.lastWrite().Add(m.config.TimeLimit(settle)))
		if quiet <= 0 {
			return
		}
		select {
		case <-time.After(quiet):
		case <-limit:
			return
		case <-m.stop:
			return
		case <-gone:
			return
		}
	}
}

// quit takes a screenshot and tells QEMU to quit. If QEMU has not ended by the end of
// the close time-out, quit kills it, and returns true.
func (m *Machine) quit(gone <-chan struct{}) (killed bool) {
	ctx, cancel := context.WithTimeout(context.Background(), m.options.CloseTimeout)
	defer cancel()
	if m.options.Logs != "" && m.config.Display && !m.End().Frozen {
		half, cancel := context.WithTimeout(ctx, m.options.CloseTimeout/2)
		err := m.Screenshot(half, filepath.Join(m.options.Logs, "screenshot.png"))
		cancel()
		m.mu.Lock()
		m.screenshotError = err
		m.mu.Unlock()
	}
	m.monitor().Execute(ctx, "quit", nil) // ignore the error: only QEMU's end counts
	select {
	case <-gone:
		return false
	case <-ctx.Done():
	}
	m.stderrLine(fmt.Sprintf("QEMU did not quit within %v and was killed", m.options.CloseTimeout))
	m.process.Kill()
	<-gone
	return true
}

// Stop starts to end the machine, unless it has ended already. The guest is not
// asked, as if its power were cut.
func (m *Machine) Stop() { m.stopOnce.Do(func() { close(m.stop) }) }

// Running reports whether the machine still runs.
func (m *Machine) Running() bool {
	select {
	case <-m.done:
		return false
	default:
		return true
	}
}

// Done returns a channel that closes when the machine has ended.
func (m *Machine) Done() <-chan struct{} { return m.done }

// Close ends the machine and returns how it ended.
func (m *Machine) Close() End {
	m.Stop()
	<-m.done
	return m.End()
}

// End returns how the machine ended, after Done is closed.
func (m *Machine) End() End {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.end
}

// Wait waits for the machine to end by the guest's doing: a power-off, a reset,
// a crash.
func (m *Machine) Wait(ctx context.Context) (End, error) {
	select {
	case <-m.done:
		return m.End(), nil
	case <-ctx.Done():
		return End{}, context.Cause(ctx)
	}
}
