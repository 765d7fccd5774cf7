package vm

import (
	"context"
	"errors"
)

// An error of a machine says who failed, if that is known: errors.Is(err, ErrGuest),
// errors.Is(err, ErrHost), or errors.Is(err, context.DeadlineExceeded) if the time ran
// out.
var (
	// ErrGuest: the guest crashed, showed a pattern of Options.FailOn, or ended when it
	// was to run.
	ErrGuest = errors.New("the guest failed")
	// ErrHost: QEMU failed, or the host did not have a resource for it, such as space on
	// a disk. The guest may be right.
	ErrHost = errors.New("the host failed")
)

// A failure is an error of which it is known who failed.
type failure struct {
	error
	who error // ErrGuest or ErrHost
}

func (f failure) Unwrap() []error { return []error{f.error, f.who} }

// A TimeError says that the time for something ran out. It matches
// context.DeadlineExceeded. As the cause of a context it names the purpose of the time.
type TimeError struct{ Text string }

func (e *TimeError) Error() string { return e.Text }

// Is reports whether target is context.DeadlineExceeded.
func (e *TimeError) Is(target error) bool { return target == context.DeadlineExceeded }

// who says who failed, as the beginning of a report; "" if that is not known.
func who(err error) string {
	switch {
	// A guest or a host that failed can be the reason why the time ran out.
	case errors.Is(err, ErrHost):
		return ErrHost.Error()
	case errors.Is(err, ErrGuest):
		return ErrGuest.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "the time ran out"
	}
	return ""
}

// Err returns the end as an error, also if nothing failed: for a caller who expected the
// machine to run.
func (e End) Err() error {
	switch {
	case e.Failure != nil:
		return e.Failure
	case e.Stopped, e.Frozen:
		return errors.New(e.String())
	case e.Reason == "" && (e.Signal != nil || e.ExitStatus != 0) && !e.debugExit:
		return failure{errors.New(e.String()), ErrHost}
	}
	return failure{errors.New(e.String()), ErrGuest}
}
