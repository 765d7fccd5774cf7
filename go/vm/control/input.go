package control

import (
	"io"
	"os"
	"sync"
	"sync/atomic"
)

// An input is the standard input of a client, for a command in the guest. The client
// shares it with other programs, such as the shell that ran it. What comes after the end
// of the command is theirs, so nothing may read it any more.
type input struct {
	file    *os.File
	stopped *os.File // reads as the end of a pipe after stop
	end     *os.File // the other end of that pipe

	done    atomic.Bool
	reading sync.Mutex // held during a read
}

func newInput(file *os.File) (*input, error) {
	stopped, end, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &input{file: file, stopped: stopped, end: end}, nil
}

// Read waits until there is something to read or stop is called. It does not begin a
// read that could wait: that one could not be ended.
func (i *input) Read(b []byte) (int, error) {
	i.reading.Lock()
	defer i.reading.Unlock()
	if i.done.Load() || !waitReadable(i.file, i.stopped) {
		return 0, io.EOF
	}
	return i.file.Read(b)
}

// stop ends a Read that waits, and all later ones.
func (i *input) stop() {
	i.done.Store(true)
	i.end.Close()
	go func() {
		i.reading.Lock()
		defer i.reading.Unlock()
		i.stopped.Close()
	}()
}
