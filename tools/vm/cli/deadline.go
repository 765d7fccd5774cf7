package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm"
)

// ParseTimeout parses the value of TEST_TIMEOUT, Bazel's time limit for a test. Empty
// means that there is none: 0.
func ParseTimeout(testTimeout string) (time.Duration, error) {
	if testTimeout == "" {
		return 0, nil
	}
	seconds, err := strconv.Atoi(testTimeout)
	if err != nil || seconds < 1 {
		return 0, fmt.Errorf("TEST_TIMEOUT is %q; it must be a number of seconds", testTimeout)
	}
	return time.Duration(seconds) * time.Second, nil
}

// errDeadline ends what still runs when the test's time is nearly over.
var errDeadline = &vm.TimeError{Text: "the test's time limit is nearly over"}

// untilDeadline returns a context that ends early enough before Bazel kills the test
// that the caller belongs to, and the machine's Options.CloseTimeout, 0 outside tests.
func untilDeadline(ctx context.Context, caller int) (context.Context, context.CancelFunc, time.Duration, error) {
	total, err := ParseTimeout(os.Getenv("TEST_TIMEOUT"))
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
