package vmtest

import (
	"fmt"
	"strings"
)

// maxOutput bounds, in bytes, the standard output that Run and Output return: a guest
// must not fill the memory of the host.
const maxOutput = 64 << 20

// An output keeps what a command writes. A write past limit fails, which ends the
// command.
type output struct {
	limit int // in bytes
	b     strings.Builder
}

func (o *output) Write(b []byte) (int, error) {
	if len(b) > o.limit-o.b.Len() {
		return 0, &longOutputError{o.limit}
	}
	return o.b.Write(b)
}

// A longOutputError says that a command wrote more than limit bytes.
type longOutputError struct{ limit int }

func (e *longOutputError) Error() string {
	return fmt.Sprintf("the standard output is larger than %d MiB; use Exec with Stdout", e.limit>>20)
}
