//go:build linux

package main

import (
	"bytes"
	"os"
	"testing"
	"time"
)

type writeCloser struct{ bytes.Buffer }

func (*writeCloser) Close() error { return nil }

// The agent sends all that a command wrote, even if the host takes it after the time for
// output is over.
func TestOutputAfterItsTime(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close() // a process that is left behind holds it open
	if _, err := w.WriteString("text"); err != nil {
		t.Fatal(err)
	}
	o := &output{r: r, want: true, last: time.Now().Add(-time.Second)}
	o.waitOn()
	var got writeCloser
	o.send(&got)
	if got.String() != "text" {
		t.Errorf("got %q, want %q", got.String(), "text")
	}
}
