package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/internal/testtimeout"
)

// errDeadline ends what still runs when the test's time is nearly over.
var errDeadline = &vm.TimeError{Text: "the test's time limit is nearly over"}

// untilDeadline returns a context that ends early enough before Bazel kills the test
// that the caller belongs to, and the machine's Options.CloseTimeout, 0 outside tests.
func untilDeadline(ctx context.Context, caller int) (context.Context, context.CancelFunc, time.Duration, error) {
	total, err := testtimeout.Parse(os.Getenv("TEST_TIMEOUT"))
	if err != nil || total == 0 {
		ctx, cancel := context.WithCancel(ctx)
		return ctx, cancel, 0, err
	}
	reserve, closeTimeout := vm.Reserve(total)
	ctx, cancel := context.WithTimeoutCause(ctx, total-reserve-testAge(caller), errDeadline)
	return ctx, cancel, closeTimeout, nil
}

// isDeadline reports whether a context of untilDeadline has ended because the time is
// nearly over.
func isDeadline(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errDeadline) }
