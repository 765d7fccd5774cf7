package covered

import "testing"

func TestSign(t *testing.T) {
	if got := Sign(7); got != 1 {
		t.Errorf("got %d", got)
	}
}
