//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// fakeCgroups makes a starter with one cgroup, which is a plain folder.
func fakeCgroups(t *testing.T) *starter {
	t.Helper()
	path := filepath.Join(t.TempDir(), "1")
	err := os.Mkdir(path, 0o755)
	for name, content := range map[string]string{"cgroup.kill": "", "cgroup.events": "populated 0\nfrozen 0\n"} {
		err = errors.Join(err, os.WriteFile(filepath.Join(path, name), []byte(content), 0o644))
	}
	parent, openErr := openDir(filepath.Dir(path))
	if err = errors.Join(err, openErr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(int(parent)) })
	g := &group{name: "1"}
	for _, file := range []struct {
		file  **os.File
		path  string
		flags int
	}{
		{&g.dir, "1", syscall.O_RDONLY | syscall.O_DIRECTORY},
		{&g.killer, "1/cgroup.kill", syscall.O_WRONLY},
		{&g.events, "1/cgroup.events", syscall.O_RDONLY},
	} {
		if *file.file, err = parent.open(file.path, file.flags); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(g.close)
	return &starter{cgroup: parent, idle: []*group{g}}
}

// An error that passes, as of a program that another process still writes, does not make
// commands run outside of cgroups.
func TestTransientErrorKeepsCgroups(t *testing.T) {
	for _, test := range []struct {
		name   string
		errors []syscall.Errno // of the first attempts to start a process
		fails  bool            // whether the first command does not run
	}{
		{"busy program", []syscall.Errno{syscall.ETXTBSY}, false},
		{"busy program for long", []syscall.Errno{syscall.ETXTBSY, syscall.ETXTBSY}, true},
		{"no more processes", []syscall.Errno{syscall.EAGAIN}, false},
		{"no more processes for long", []syscall.Errno{syscall.EAGAIN, syscall.EAGAIN}, true},
		{"no memory", []syscall.Errno{syscall.ENOMEM, syscall.ENOMEM}, true},
		{"forbidden in the group", []syscall.Errno{syscall.EOPNOTSUPP}, false},
		{"missing program", []syscall.Errno{syscall.ENOENT}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := fakeCgroups(t)
			attempts := test.errors
			var inGroup bool // whether the last attempt was to start the process in a cgroup
			defer func() { startProcess = os.StartProcess }()
			startProcess = func(path string, args []string, attr *os.ProcAttr) (*os.Process, error) {
				if len(attempts) > 0 {
					err := attempts[0]
					attempts = attempts[1:]
					return nil, &os.PathError{Op: "fork/exec", Path: path, Err: err}
				}
				// The kernel would not start a process in a plain folder.
				inGroup, attr.Sys.UseCgroupFD = attr.Sys.UseCgroupFD, false
				return os.StartProcess(path, args, attr)
			}
			run := func() error {
				p, err := s.start(&command{path: "/proc/self/exe", args: []string{"agent", "-test.run=^$"}, dir: "/"}, nil)
				if err != nil {
					return err
				}
				p.Wait()
				s.release(p)
				if (p.group != nil) != inGroup {
					t.Errorf("the process has the group %v, and was started in one: %v", p.group, inGroup)
				}
				return nil
			}
			if err := run(); (err != nil) != test.fails || test.fails && !errors.Is(err, test.errors[0]) {
				t.Fatalf("first command: got error %v, want one: %v", err, test.fails)
			}
			if want := test.errors[0] != syscall.EOPNOTSUPP; !test.fails && inGroup != want {
				t.Errorf("the first command is in a cgroup: %v, want %v", inGroup, want)
			}
			for range 2 {
				if err := run(); err != nil || !inGroup {
					t.Fatalf("next command: got error %v, in a cgroup: %v", err, inGroup)
				}
			}
			if len(s.idle) != 1 || len(s.left) != 0 {
				t.Errorf("got %d idle cgroups and %d that are left, want 1 and 0", len(s.idle), len(s.left))
			}
		})
	}
}
