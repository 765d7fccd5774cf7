// Package testtimeout reads Bazel's time limit for a test.
package testtimeout

import (
	"fmt"
	"strconv"
	"time"
)

// Parse parses the value of TEST_TIMEOUT. Empty means that there is no limit: 0.
func Parse(value string) (time.Duration, error) {
	if value == "" {
		return 0, nil
	}
	seconds, err := strconv.Atoi(value)
	if err != nil || seconds < 1 {
		return 0, fmt.Errorf("TEST_TIMEOUT is %q; it must be a number of seconds", value)
	}
	return time.Duration(seconds) * time.Second, nil
}
