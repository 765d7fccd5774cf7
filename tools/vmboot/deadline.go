package main

import (
	"fmt"
	"strconv"
	"time"
)

// Limits are how long the parts of a test may take. 0 means without a limit.
type limits struct {
	machine time.Duration // until the verdict
	test    time.Duration // until the verdict, run_after included
	closing time.Duration // from the verdict to the report
}

// The closing time of a test without a time limit from Bazel, and the longest.
const maxClosing = 5 * time.Second

// newLimits divides the seconds that Bazel gives a test, TEST_TIMEOUT. A tenth
// of them, at least 2 s and at most 15 s, is reserved for the report: after
// TEST_TIMEOUT Bazel kills the test. Half of that is for QEMU. own is the
// target's time_limit, 0 without one.
func newLimits(own time.Duration, testTimeout string) (limits, error) {
	l := limits{machine: own, closing: maxClosing}
	if testTimeout == "" {
		return l, nil
	}
	seconds, err := strconv.Atoi(testTimeout)
	if err != nil || seconds < 1 {
		return limits{}, fmt.Errorf("TEST_TIMEOUT is %q; it must be a number of seconds", testTimeout)
	}
	total := time.Duration(seconds) * time.Second
	reserve := min(max(total/10, 2*time.Second), 15*time.Second, total/2)
	l.test = total - reserve
	l.closing = min(reserve/2, maxClosing)
	if l.machine == 0 || l.machine > l.test {
		l.machine = l.test
	}
	return l, nil
}
