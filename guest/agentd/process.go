//go:build linux

package main

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
)

// agentPriority is the nice value of the agent: it answers also while the guest is busy, as
// it is after a resume. Commands have 0.
const agentPriority = -20

// setPriority sets the nice value of this thread. A guest may forbid that.
func setPriority(nice int) { syscall.Setpriority(syscall.PRIO_PROCESS, 0, nice) }

// starter starts commands: without the agent's priority and its protection from the OOM
// killer, each in a new session and, where the guest has them, a new cgroup.
type starter struct {
	mu     sync.Mutex
	score  *os.File // the agent's oom_score_adj
	first  bool     // the agent has its priority
	cgroup dir      // the parent of the commands' cgroups, or noDir
	next   int      // name of the next cgroup
	idle   []*group // cgroups without a process
	left   []string // names of cgroups that are not used again, to be removed when they are empty
}

const cgroupName = "rules_qcow2_agent"

func (s *starter) init(kernel kernelDirs) {
	s.cgroup = noDir
	if f, err := kernel.proc.open("self/oom_score_adj", syscall.O_RDWR); err == nil {
		// A guest that runs out of memory kills its processes, not the agent.
		if _, err := f.WriteAt([]byte("-1000"), 0); err == nil {
			s.score = f
		}
	}
	if n, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0); err == nil && 20-n == agentPriority {
		s.first = true
		// In a guest that shares the processor among sessions, this is the session's priority.
		kernel.proc.write("self/autogroup", strconv.Itoa(agentPriority))
	}
	if kernel.cgroup == noDir {
		return
	}
	if err := kernel.cgroup.mkdir(cgroupName); err != nil && !errors.Is(err, os.ErrExist) {
		return
	}
	fd, err := syscall.Openat(int(kernel.cgroup), cgroupName, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	s.cgroup = dir(fd)
	// From an agent before this one.
	if names, err := s.cgroup.list("."); err == nil {
		for _, name := range names {
			s.cgroup.rmdir(name)
		}
	}
}

// group is a cgroup for one command at a time. Making and removing one takes as long
// as a small command, so they are used again.
type group struct {
	name   string
	dir    *os.File
	killer *os.File // cgroup.kill; open, so that killing needs no resources
	events *os.File // cgroup.events
	killed bool     // newer kernels kill also processes that start in it later
}

// close closes the files. The cgroup stays.
func (g *group) close() {
	for _, f := range []*os.File{g.dir, g.killer, g.events} {
		if f != nil {
			f.Close()
		}
	}
}

// empty reports whether no process is in the group.
func (g *group) empty() bool {
	var b [256]byte
	n, _ := g.events.ReadAt(b[:], 0)
	return bytes.Contains(b[:n], []byte("populated 0\n"))
}

// startProcess is os.StartProcess. Variable for tests.
var startProcess = os.StartProcess

// process is a command that runs.
type process struct {
	*os.Process
	group *group // nil if the guest does not have cgroups that can be killed
}

// start starts c with these standard files.
func (s *starter) start(c *command, files []*os.File) (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.takeGroup()
	p, err := s.try(c, files, g)
	switch {
	case err == nil || g == nil || errors.Is(err, os.ErrNotExist):
	case isTransient(err):
		p, err = s.try(c, files, g)
	default:
		// The guest may forbid processes in the group.
		p, err = s.try(c, files, nil)
	}
	if g != nil && (err != nil || p.group == nil) {
		s.idle = append(s.idle, g)
	}
	// StartProcess names the path, and the caller names the command.
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return p, err
}

// isTransient reports whether an error may be gone soon: the program is still written,
// or something is short.
func isTransient(err error) bool {
	for _, transient := range []error{syscall.ETXTBSY, syscall.EAGAIN, syscall.ENOMEM} {
		if errors.Is(err, transient) {
			return true
		}
	}
	return false
}

// try starts c in a group, unless that is nil.
func (s *starter) try(c *command, files []*os.File, g *group) (*process, error) {
	attr := &os.ProcAttr{
		Dir: c.dir, Env: c.env, Files: files,
		// A new session: signals reach all of the command, and it has no
		// terminal to read from but its own, which is its standard input.
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: c.terminal != nil, Credential: c.cred},
	}
	if g != nil {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(g.dir.Fd())
	}
	// Children inherit both, and may have children of their own before the agent could
	// change them.
	s.setScore("0")
	defer s.setScore("-1000")
	if s.first {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		setPriority(0)
		defer setPriority(agentPriority)
	}
	p, err := startProcess(c.path, c.args, attr)
	if err != nil {
		return nil, err
	}
	return &process{p, g}, nil
}

func (s *starter) setScore(score string) {
	if s.score != nil {
		s.score.WriteAt([]byte(score), 0)
	}
}

// takeGroup returns a cgroup without a process, or nil.
func (s *starter) takeGroup() *group {
	// What earlier commands left behind may have ended since.
	s.left = slices.DeleteFunc(s.left, func(name string) bool {
		return !errors.Is(s.cgroup.rmdir(name), syscall.EBUSY)
	})
	if n := len(s.idle); n > 0 {
		g := s.idle[n-1]
		s.idle = s.idle[:n-1]
		return g
	}
	return s.makeGroup()
}

// putGroup keeps the cgroup of a command that ended for another one, unless processes
// are left in it or it was killed.
func (s *starter) putGroup(g *group) {
	if !g.killed && g.empty() {
		s.idle = append(s.idle, g)
		return
	}
	g.close()
	s.left = append(s.left, g.name)
}

// makeGroup makes a cgroup, or returns nil.
func (s *starter) makeGroup() *group {
	if s.cgroup == noDir {
		return nil
	}
	s.next++
	name := strconv.Itoa(s.next)
	for errors.Is(s.cgroup.mkdir(name), os.ErrExist) {
		s.next++
		name = strconv.Itoa(s.next)
	}
	g := &group{name: name}
	var err error
	for _, file := range []struct {
		file  **os.File
		path  string
		flags int
	}{
		{&g.dir, name, syscall.O_RDONLY | syscall.O_DIRECTORY},
		{&g.killer, name + "/cgroup.kill", syscall.O_WRONLY}, // Linux 5.14 and newer
		{&g.events, name + "/cgroup.events", syscall.O_RDONLY},
	} {
		if *file.file, err = s.cgroup.open(file.path, file.flags); err != nil {
			g.close()
			s.cgroup.rmdir(name)
			return nil
		}
	}
	return g
}

// release forgets a command that ended.
func (s *starter) release(p *process) {
	if p.group == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putGroup(p.group)
}

// signal sends a signal to the process group of p, which its process leads.
func (p *process) signal(sig syscall.Signal) {
	if sig == syscall.SIGKILL {
		p.kill()
		return
	}
	syscall.Kill(-p.Pid, sig)
}

// kill kills the command with all its descendants where the guest has cgroups,
// otherwise with all of its process group. The kernel kills a cgroup at once: its
// processes cannot fork faster.
func (p *process) kill() {
	if p.group != nil {
		p.group.killed = true
		p.group.killer.WriteAt([]byte("1"), 0)
	}
	syscall.Kill(-p.Pid, syscall.SIGKILL)
}
