// Package boot runs a machine and watches what becomes of it.
package boot

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/cmdline"
	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/console"
	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/outputs"
	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/process"
	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/qmp"
)

const (
	// After a line that must not come, a guest has settle to be silent for,
	// and at most settleLimit, to say more about it.
	settle      = 300 * time.Millisecond
	settleLimit = 2 * time.Second
	// commandTimeout is for QMP commands to a machine that may be ill.
	commandTimeout = 2 * time.Second
)

// Options are what a run is given beside its machine.
type Options struct {
	Outputs *outputs.Dir
	Scratch string           // folder for QEMU's own temporary files
	Limit   time.Duration    // 0 for none
	Signals <-chan os.Signal // each ends the run
}

// A run is one machine from its start to its end.
type run struct {
	Options
	machine *cmdline.Machine
	matcher *console.Matcher
	process *process.Process
	qmp     *qmp.Client
	inbox   chan any
	started time.Time

	ports      map[string]string // of the host, for forwarded ones
	hook       *process.Hook     // run_while_up, once it runs
	hookPassed bool

	verdict  error // why the run was ended
	settling bool
	quitting bool
	shutdown *qmp.Event // the guest's own end
	stderr   []string

	screenshotError error
}

// What comes to the inbox, besides []byte of the console and qmp.Event.
type (
	stderrLine string
	ready      struct{ err error } // the guest runs
	hookEnd    struct{ err error }
	exit       struct {
		status int
		signal os.Signal
		err    error
	}
)

// Run runs a machine to its end, which is what the error is about. It has to
// be called on the main thread, which QEMU dies with.
func Run(m *cmdline.Machine, options Options) error {
	r := &run{
		Options: options,
		machine: m,
		matcher: console.NewMatcher(m.Expect, m.FailOn),
		inbox:   make(chan any, 64),
		started: time.Now(),
	}
	if err := r.start(); err != nil {
		return fmt.Errorf("QEMU did not start: %w", err)
	}
	end := r.watch()
	r.matcher.Close()
	if err := r.judge(end); err != nil {
		return r.report(err)
	}
	return nil
}

// watch returns how QEMU ended.
func (r *run) watch() exit {
	var limit, settled, settledAtLast, killed <-chan time.Time
	if r.Limit > 0 {
		timer := time.NewTimer(r.Limit)
		defer timer.Stop()
		limit = timer.C
	}
	for {
		select {
		case message := <-r.inbox:
			switch message := message.(type) {
			case []byte:
				r.console(message)
				if r.settling {
					settled = time.After(settle)
				}
			case stderrLine:
				r.stderrLine(string(message))
			case ready:
				if message.err != nil && !r.quitting {
					// QEMU's own words, if it has any, come with its end.
					r.end(fmt.Errorf("the machine did not start: %w", message.err))
				}
			case qmp.Event:
				r.event(message)
			case hookEnd:
				r.hookEnded(message.err)
			case exit:
				r.hook.Kill()
				return message
			}
		case <-settled:
			r.end(nil)
		case <-settledAtLast:
			r.end(nil)
		case <-limit:
			limit = nil
			r.end(errLimit)
		case signal := <-r.Signals:
			r.end(fmt.Errorf("terminated by a signal (%v)", signal))
		case <-killed:
			r.process.Kill()
		}
		if pattern, _ := r.matcher.Failure(); pattern != "" && !r.settling {
			r.settling = true
			settled, settledAtLast = time.After(settle), time.After(settleLimit)
		}
		if r.quitting && killed == nil {
			killed = time.After(process.QuitTimeout)
		}
	}
}

var errLimit = errors.New("the time limit is over")

func (r *run) console(b []byte) {
	r.Outputs.Console.Write(b)
	r.matcher.Write(b)
	if pattern, _ := r.matcher.Failure(); pattern != "" || !r.matcher.Complete() || r.quitting {
		return
	}
	r.allSeen()
}

// allSeen does what comes after the last pattern.
func (r *run) allSeen() {
	if r.machine.RunWhileUp != "" {
		if r.hook == nil {
			r.startHook()
		}
		return
	}
	if r.machine.ExitStatus == nil {
		r.end(nil)
	}
}

func (r *run) stderrLine(line string) {
	fmt.Fprintln(r.Outputs.QEMU, line)
	r.stderr = append(r.stderr, line)
	if isInternalError(line) {
		// QEMU would stay, with a machine that stands still.
		r.end(errors.New(line))
	}
}

func (r *run) event(event qmp.Event) {
	switch {
	case r.quitting:
	case event.Name == "SHUTDOWN":
		r.shutdown = &event
		r.quit()
	case event.Name == "BLOCK_IO_ERROR" && event.Data.Action == "stop":
		// For want of room QEMU stops the guest until somebody makes some.
		// Errors of other kinds are the guest's to see.
		r.end(fmt.Errorf("the host has no room for what the guest writes to %s: %s", event.Data.Node, event.Data.Reason))
	}
}

// end ends the run; a nil verdict leaves the judgement to what has been seen.
func (r *run) end(verdict error) {
	if r.verdict == nil && r.shutdown == nil {
		r.verdict = verdict
	}
	r.hook.Kill()
	r.quit()
}

// quit takes a last look at the screen and tells QEMU to quit.
func (r *run) quit() {
	if r.quitting {
		return
	}
	r.quitting = true
	r.screenshotError = r.screenshot()
	if _, err := r.qmp.Execute("quit", nil, commandTimeout); err != nil {
		r.process.Kill()
	}
}
