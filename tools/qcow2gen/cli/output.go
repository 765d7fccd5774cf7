package cli

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// outputs are files that appear together and whole, or not at all. Each is
// written without a name where the system has that, so that nothing is left of
// it whatever ends the process; elsewhere under another name in its directory,
// which is removed after an error or a signal. They get their names when all
// are complete, the one that was created first as the last: it is what says
// that the others are there, should a kill come in between.
//
// Nothing is synced: it is a kill or a full disk that is survived, not a power
// cut, as everywhere in a build.
type outputs struct {
	mu      sync.Mutex // against the signal handler
	files   []*outputFile
	grown   []grownFile
	signals chan os.Signal // nil without a temporary name
}

type outputFile struct {
	*os.File
	temporary string // the name up to now; "" for none
	target    string // the final name, with symbolic links followed
	existed   bool
}

// A grownFile is one that exists and is extended with zeros.
type grownFile struct {
	path     string
	from, to int64 // length in bytes
}

// endingSignals are those by which users and build tools end a process.
var endingSignals = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}

// unnamed is a variable for the tests of what is done without it.
var unnamed = createUnnamed

// create returns a file that will have the name path.
func (o *outputs) create(path string) (*os.File, error) {
	target, err := followLinks(path)
	if err != nil {
		return nil, err
	}
	existed, err := checkReplaceable(target)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	dir := directory(target)
	if f, err := unnamed(dir); err == nil {
		o.files = append(o.files, &outputFile{f, "", target, existed})
		return f, nil
	}
	o.handleSignals()
	f, err := createTemporary(dir)
	if err != nil {
		return nil, err
	}
	o.files = append(o.files, &outputFile{f, f.Name(), target, existed})
	return f, nil
}

// handleSignals removes the temporary files when a signal ends the process. It
// is for them only: to start a Go program's handling of signals takes as long
// as to write an image.
func (o *outputs) handleSignals() {
	if o.signals != nil {
		return
	}
	o.signals = make(chan os.Signal, 1)
	for _, s := range endingSignals {
		if !signal.Ignored(s) { // as nohup has it
			signal.Notify(o.signals, s)
		}
	}
	go func() {
		s, ok := <-o.signals
		if !ok {
			return
		}
		o.mu.Lock() // and never unlock: nothing is to be made any more
		o.removeTemporary()
		code := 1
		if number, ok := s.(syscall.Signal); ok {
			code = 128 + int(number) // as a shell has it
		}
		os.Exit(code)
	}()
}

// grow extends the existing file at path with zeros to at least size bytes.
func (o *outputs) grow(path string, size int64) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if _, err := checkReplaceable(path); err != nil {
		return err
	}
	if info.Size() < size {
		o.grown = append(o.grown, grownFile{path, info.Size(), size})
	}
	return nil
}

// commit gives the files their names.
func (o *outputs) commit() (err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.removeTemporary()
	for _, f := range o.files {
		if f.temporary == "" {
			continue // its name has to come first
		}
		if err := f.Close(); err != nil { // some file systems write only now
			return fmt.Errorf("%s cannot be written: %s", f.target, reason(err))
		}
	}
	var undo []func()
	defer func() {
		if err != nil {
			for _, f := range undo {
				f()
			}
		}
	}()
	for _, g := range o.grown {
		undo = append(undo, func() { os.Truncate(g.path, g.from) })
		if err := os.Truncate(g.path, g.to); err != nil {
			return fmt.Errorf("%s cannot be extended to %d bytes: %s", g.path, g.to, reason(err))
		}
	}
	for _, f := range slices.Backward(o.files) {
		if err := f.publish(); err != nil {
			return fmt.Errorf("%s cannot be put in its place: %s", f.target, reason(err))
		}
		if !f.existed {
			undo = append(undo, func() { os.Remove(f.target) })
		}
	}
	return nil
}

// publish gives the file its final name.
func (f *outputFile) publish() error {
	if f.temporary == "" {
		err := link(f.File, f.target)
		if !errors.Is(err, os.ErrExist) {
			return err
		}
		// What exists can be replaced by a file with a name only. From here on
		// it is too late to stop: a signal would leave that name behind.
		signal.Ignore(endingSignals...)
		name := temporaryName(directory(f.target))
		if err := link(f.File, name); err != nil {
			return err
		}
		f.temporary = name
	}
	if err := os.Rename(f.temporary, f.target); err != nil {
		return err
	}
	f.temporary = ""
	return nil
}

// discard removes what was written; after commit there is nothing to remove.
func (o *outputs) discard() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.removeTemporary()
	if o.signals != nil {
		signal.Stop(o.signals)
		close(o.signals)
	}
}

func (o *outputs) removeTemporary() {
	for _, f := range o.files {
		f.Close()
		if f.temporary != "" {
			os.Remove(f.temporary)
		}
	}
	o.files = nil
}

// directory returns path without its last element: empty, or with a slash at the
// end. filepath.Dir would take "link/.." for the directory of link.
func directory(path string) string { return path[:strings.LastIndexByte(path, '/')+1] }

// followLinks returns the name of the file to which path leads, which need not
// exist. A link is kept, and what it leads to is replaced.
func followLinks(path string) (string, error) {
	for range 40 { // Linux's own limit
		info, err := os.Lstat(path)
		if err != nil || info.Mode()&os.ModeSymlink == 0 {
			return path, nil
		}
		link, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(link) {
			link = directory(path) + link
		}
		path = link
	}
	return "", syscall.ELOOP
}

// checkReplaceable refuses what is no regular file, one that may not be written
// to, as qemu-img would write into it, and the disk of a running guest.
func checkReplaceable(path string) (exists bool, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return false, errors.New("it is a directory, only a regular file is allowed")
	case !mode.IsRegular():
		return false, errors.New("it is a device, a pipe or a socket, only a regular file is allowed")
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if inUse(f) {
		return false, errors.New("it is in use by QEMU, which has it locked; another name is needed")
	}
	return true, nil
}

// createTemporary creates a file in dir, which is empty or ends in a slash. The
// permissions are those that a new file has.
func createTemporary(dir string) (*os.File, error) {
	for {
		f, err := os.OpenFile(temporaryName(dir), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, os.ErrExist) {
			return f, err
		}
	}
}

func temporaryName(dir string) string {
	return fmt.Sprintf("%s.qcow2gen-%016x", dir, rand.Uint64())
}
