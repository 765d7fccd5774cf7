package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Both outputs of a step fill the log at the same time. It ends at its limit and says so.
func TestStepLog(t *testing.T) {
	const limit = 1000
	var written bytes.Buffer
	log := &stepLog{w: &written, left: limit}
	var outputs sync.WaitGroup
	for range 2 {
		outputs.Add(1)
		go func() {
			defer outputs.Done()
			for range 100 {
				if n, err := fmt.Fprintf(log, "line\n"); n != 5 || err != nil {
					t.Errorf("below the limit: got %d, %v", n, err)
				}
			}
		}()
	}
	outputs.Wait()
	want := strings.Repeat("line\n", limit/5)
	if got := written.String(); got != want {
		t.Errorf("at the limit, the log is %q", got)
	}
	for range 2 {
		if n, err := log.Write(make([]byte, 2*limit)); n != 2*limit || err != nil {
			t.Errorf("past the limit: got %d, %v", n, err)
		}
	}
	want += "\n[the rest is missing: a log ends after 64 MiB]\n"
	if got := written.String(); got != want {
		t.Errorf("past the limit, the log is %q, want %q", got, want)
	}
}
