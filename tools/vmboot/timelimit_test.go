package main

import (
	"testing"
	"time"
)

func TestTimeLimit(t *testing.T) {
	for _, test := range []struct {
		own         int
		testTimeout string
		want        time.Duration
	}{
		{0, "", 0},
		{7, "", 7 * time.Second},
		{0, "60", 54 * time.Second},
		{0, "300", 285 * time.Second},
		{0, "10", 8 * time.Second},
		{0, "1", 500 * time.Millisecond},
		{20, "60", 20 * time.Second},
		{60, "60", 54 * time.Second},
	} {
		got, err := timeLimit(test.own, test.testTimeout)
		if err != nil || got != test.want {
			t.Errorf("timeLimit(%d, %q) = %v, %v, want %v", test.own, test.testTimeout, got, err, test.want)
		}
	}
	for _, testTimeout := range []string{"soon", "0", "-1"} {
		if _, err := timeLimit(0, testTimeout); err == nil {
			t.Errorf("TEST_TIMEOUT may be %q", testTimeout)
		}
	}
}
