// Package tempfile keeps the names of this process's temporary files. A signal
// that ends the process removes all of them first.
//
// The names belong to the process and not to one command line: a persistent
// worker runs several command lines at a time, and a signal ends all of them.
package tempfile

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

var (
	// ending is held for reading while a file gets a name. The signal handler
	// locks it and never unlocks it, so no file appears after the removal.
	ending sync.RWMutex

	mu    sync.Mutex // guards names
	names = map[string]struct{}{}

	handle sync.Once
)

// HandleSignals makes SIGINT, SIGTERM and SIGHUP remove the temporary files and
// end the process with exit code 128 plus the signal's number, as a shell
// reports it. A signal that is ignored, as under nohup, stays ignored.
//
// The functions of this package call it when the first name is needed. Only a
// process that runs several command lines calls it before: it takes a Go
// program as long to start its signal handling as to write an image.
func HandleSignals() {
	handle.Do(func() {
		received := make(chan os.Signal, 1)
		for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
			if !signal.Ignored(s) {
				signal.Notify(received, s)
			}
		}
		go func() {
			s := <-received
			ending.Lock()
			removeAll()
			code := 1
			if number, ok := s.(syscall.Signal); ok {
				code = 128 + int(number)
			}
			os.Exit(code)
		}()
	})
}

func removeAll() {
	mu.Lock()
	defer mu.Unlock()
	for name := range names {
		os.Remove(name)
	}
}

// Postpone keeps signals from ending the process until resume is called. Calls
// in one goroutine must not be nested.
func Postpone() (resume func()) {
	ending.RLock()
	return ending.RUnlock
}

// Create creates a file with a temporary name in dir, which is empty or ends in
// a slash. Its permissions are perm without the umask.
func Create(dir string, perm os.FileMode) (*os.File, error) {
	HandleSignals()
	defer Postpone()()
	for {
		f, err := os.OpenFile(newName(dir), os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err == nil {
			remember(f.Name())
		}
		return f, err
	}
}

// Name returns a temporary name in dir for the caller to give to a file. The
// caller holds Postpone.
func Name(dir string) string {
	HandleSignals()
	name := newName(dir)
	remember(name)
	return name
}

func newName(dir string) string {
	return fmt.Sprintf("%s.qcow2gen-%016x", dir, rand.Uint64())
}

// Rename gives a file with a temporary name its final name. The caller holds
// Postpone.
func Rename(name, target string) error {
	if err := os.Rename(name, target); err != nil {
		return err
	}
	forget(name)
	return nil
}

// Remove removes a file with a temporary name.
func Remove(name string) {
	os.Remove(name)
	forget(name)
}

func remember(name string) {
	mu.Lock()
	defer mu.Unlock()
	names[name] = struct{}{}
}

func forget(name string) {
	mu.Lock()
	defer mu.Unlock()
	delete(names, name)
}
