//go:build linux

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"time"
)

// All bytes arrive through a pipe that holds a part of them, with a reader that is slow.
func TestNonblocking(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	sent := bytes.Repeat([]byte("0123456789abcde\n"), 1<<16)
	written := make(chan error, 1)
	go func() {
		defer w.Close()
		n, err := newNonblocking(w).Write(sent)
		if err == nil && n != len(sent) {
			err = io.ErrShortWrite
		}
		written <- err
	}()
	time.Sleep(10 * time.Millisecond) // the pipe is full
	got, err := io.ReadAll(newNonblocking(r))
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(sent))
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// A read that waits ends at its deadline, and when the file is closed; a write without a
// reader fails.
func TestNonblockingEnds(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	read := newNonblocking(r).Read
	r.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if n, err := read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("at the deadline: got %d, %v", n, err)
	}
	r.SetReadDeadline(time.Time{})
	closed := make(chan error)
	time.AfterFunc(10*time.Millisecond, func() { closed <- r.Close() })
	if n, err := read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
		t.Errorf("after the end of the file: got %d, %v", n, err)
	}
	<-closed
	if n, err := newNonblocking(w).Write([]byte("x")); n != 0 || !errors.Is(err, syscall.EPIPE) {
		t.Errorf("without a reader: got %d, %v", n, err)
	}
}

// A file that is not in nonblocking mode would stop all goroutines.
func TestBlockingFile(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := newNonblocking(f); got != io.ReadWriter(f) {
		t.Errorf("got a %T, want the file itself", got)
	}
}
