package main

import (
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/internal/testtimeout"
)

// Limits are how long the parts of a test may take. 0 means without a limit.
type limits struct {
	machine time.Duration // until the verdict
	test    time.Duration // until the verdict, run_after included
	closing time.Duration // the machine's CloseTimeout; 0 for the default
}

// newLimits divides the seconds that Bazel gives a test, TEST_TIMEOUT, as [vm.Reserve]
// does: after TEST_TIMEOUT Bazel kills the test. own is the target's time_limit, 0
// without one.
func newLimits(own time.Duration, testTimeout string) (limits, error) {
	l := limits{machine: own}
	total, err := testtimeout.Parse(testTimeout)
	if err != nil || total == 0 {
		return l, err
	}
	reserve, closing := vm.Reserve(total)
	l.test, l.closing = total-reserve, closing
	if l.machine == 0 || l.machine > l.test {
		l.machine = l.test
	}
	return l, nil
}
