// Package bounded limits the data that a guest sends: it must not fill the host's
// memory or disk.
package bounded

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A Log writes to W up to Limit bytes. Then it writes one line that says so, and drops the
// rest. Its Write does not fail, so that it does not end who writes: Err returns the error
// of W. Without W it drops everything. Writes may come at the same time.
type Log struct {
	W     io.Writer
	Limit int64 // a number of MiB

	mu   sync.Mutex
	size int64 // of all that came
	err  error
}

func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	room := l.Limit - l.size
	l.size += int64(len(b))
	switch {
	case l.W == nil || room < 0 || l.err != nil:
	case int64(len(b)) <= room:
		_, l.err = l.W.Write(b)
	default:
		_, err := l.W.Write(b[:room])
		_, endErr := fmt.Fprintf(l.W, "\n[the rest is missing: a log ends after %d MiB]\n", l.Limit>>20)
		l.err = errors.Join(err, endErr)
	}
	return len(b), nil
}

// Err returns the first error of W.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// ErrFull is the error of a write to a Buffer for which there is no room.
var ErrFull = errors.New("there is more output than is kept")

// A Buffer keeps up to Limit bytes. A write of more fails, which ends the command that
// writes.
type Buffer struct {
	bytes.Buffer
	Limit int
}

func (b *Buffer) Write(p []byte) (int, error) {
	if len(p) > b.Limit-b.Len() {
		return 0, ErrFull
	}
	return b.Buffer.Write(p)
}
