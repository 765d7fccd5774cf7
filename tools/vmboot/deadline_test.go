package main

import (
	"testing"
	"time"
)

func TestNewLimits(t *testing.T) {
	for _, test := range []struct {
		own         time.Duration
		testTimeout string
		want        limits
	}{
		{0, "", limits{}},
		{7 * time.Second, "", limits{machine: 7 * time.Second}},
		{0, "60", limits{54 * time.Second, 54 * time.Second, 1500 * time.Millisecond}},
		{0, "300", limits{285 * time.Second, 285 * time.Second, 3750 * time.Millisecond}},
		{0, "20", limits{18 * time.Second, 18 * time.Second, 500 * time.Millisecond}},
		{0, "1", limits{500 * time.Millisecond, 500 * time.Millisecond, 125 * time.Millisecond}},
		{20 * time.Second, "60", limits{20 * time.Second, 54 * time.Second, 1500 * time.Millisecond}},
		{60 * time.Second, "60", limits{54 * time.Second, 54 * time.Second, 1500 * time.Millisecond}},
	} {
		got, err := newLimits(test.own, test.testTimeout)
		if err != nil || got != test.want {
			t.Errorf("newLimits(%v, %q) = %+v, %v, want %+v", test.own, test.testTimeout, got, err, test.want)
		}
	}
	for _, testTimeout := range []string{"soon", "0", "-1"} {
		if _, err := newLimits(0, testTimeout); err == nil {
			t.Errorf("TEST_TIMEOUT may be %q", testTimeout)
		}
	}
}
