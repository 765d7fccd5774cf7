package control

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

// What comes after stop is left to others.
func TestInputStops(t *testing.T) {
	file, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	defer w.Close()
	in, err := newInput(file)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	io.WriteString(w, "first")
	if n, err := in.Read(b); err != nil || string(b[:n]) != "first" {
		t.Fatalf("got %q, %v", b[:n], err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := in.Read(make([]byte, 100))
		ended <- err
	}()
	time.Sleep(50 * time.Millisecond) // as a rule, the read waits by then
	in.stop()
	select {
	case err := <-ended:
		if err != io.EOF {
			t.Errorf("a read that waited ended with %v, want the end of the input", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a read that waited did not end")
	}
	for end := time.Now().Add(10 * time.Second); !isClosed(in.stopped); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the pipe stays open")
		}
	}
	io.WriteString(w, "second")
	if n, err := in.Read(b); n != 0 || err != io.EOF {
		t.Errorf("a read after stop: got %d bytes, %v", n, err)
	}
	w.Close()
	if n, err := file.Read(b); err != nil || string(b[:n]) != "second" {
		t.Errorf("the next program got %q, %v", b[:n], err)
	}
}

func TestInputEnds(t *testing.T) {
	file, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	in, err := newInput(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.stop()
	io.WriteString(w, "text")
	w.Close()
	if got, err := io.ReadAll(in); err != nil || string(got) != "text" {
		t.Errorf("got %q, %v", got, err)
	}
}

func isClosed(f *os.File) bool {
	_, err := f.Stat()
	return errors.Is(err, os.ErrClosed)
}
