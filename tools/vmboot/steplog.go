package main

import (
	"fmt"
	"io"
	"sync"
)

// maxStepLog bounds, in bytes, the log of a layer: a guest must not fill the host's disk.
const maxStepLog = 64 << 20

// A stepLog writes the outputs of steps to w. It drops what comes after the first left
// bytes, and then says so.
type stepLog struct {
	w io.Writer

	mu   sync.Mutex // both outputs of a step come at the same time
	left int
	full bool
}

func (l *stepLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full {
		return len(b), nil
	}
	if len(b) <= l.left {
		n, err := l.w.Write(b)
		l.left -= n
		return n, err
	}
	n, err := l.w.Write(b[:l.left])
	if err != nil {
		return n, err
	}
	l.full = true
	if _, err := fmt.Fprintf(l.w, "\n[the rest is missing: a log ends after %d MiB]\n", maxStepLog>>20); err != nil {
		return n, err
	}
	return len(b), nil
}
