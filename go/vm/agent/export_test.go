package agent

import "time"

// SetHelloPause changes helloPause until the result is called.
func SetHelloPause(d time.Duration) (restore func()) {
	old := helloPause
	helloPause = d
	return func() { helloPause = old }
}
