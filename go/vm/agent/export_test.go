package agent

import "time"

// SetCancelGrace changes cancelGrace until the result is called.
func SetCancelGrace(d time.Duration) (restore func()) {
	old := cancelGrace
	cancelGrace = d
	return func() { cancelGrace = old }
}

// SetHelloPause changes helloPause until the result is called.
func SetHelloPause(d time.Duration) (restore func()) {
	old := helloPause
	helloPause = d
	return func() { helloPause = old }
}
