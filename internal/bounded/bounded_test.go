package bounded

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Two writers fill a log at the same time. It ends at its limit and says so.
func TestLog(t *testing.T) {
	const limit = 1 << 20
	var written bytes.Buffer
	log := &Log{W: &written, Limit: limit}
	var outputs sync.WaitGroup
	for range 2 {
		outputs.Add(1)
		go func() {
			defer outputs.Done()
			for range limit / 16 {
				if n, err := fmt.Fprintf(log, "line 67\n"); n != 8 || err != nil {
					t.Errorf("below the limit: got %d, %v", n, err)
				}
			}
		}()
	}
	outputs.Wait()
	want := strings.Repeat("line 67\n", limit/8)
	if got := written.String(); got != want {
		t.Errorf("at the limit, the log has %d bytes, want %d", len(got), limit)
	}
	for range 2 {
		if n, err := log.Write(make([]byte, 2*limit)); n != 2*limit || err != nil {
			t.Errorf("past the limit: got %d, %v", n, err)
		}
	}
	want += "\n[the rest is missing: a log ends after 1 MiB]\n"
	if got := written.String(); got != want {
		t.Errorf("past the limit, the log has %d bytes, want %d", len(got), len(want))
	}
}

// A log that cannot be written does not end who writes.
func TestLogFails(t *testing.T) {
	full := errors.New("no space left")
	log := &Log{W: failing{full}, Limit: 1 << 20}
	for range 2 {
		if n, err := log.Write([]byte("text")); n != 4 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	}
	if err := log.Err(); !errors.Is(err, full) {
		t.Errorf("got error %v, want %v", err, full)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestBuffer(t *testing.T) {
	b := Buffer{Limit: 2 << 20}
	for range 2 {
		if n, err := b.Write(make([]byte, 1<<20)); n != 1<<20 || err != nil {
			t.Fatalf("up to the limit: got %d, %v", n, err)
		}
	}
	if _, err := b.Write(nil); err != nil {
		t.Errorf("nothing, at the limit: %v", err)
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, ErrFull) {
		t.Errorf("past the limit: got error %v", err)
	}
	if b.Len() != b.Limit {
		t.Errorf("%d bytes are kept, want %d", b.Len(), b.Limit)
	}
}
