//go:build linux

package main

import (
	"errors"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// starter starts commands: out of reach of the agent's protection from the OOM
// killer, each in a new session and, where the guest has them, a new cgroup.
type starter struct {
	mu     sync.Mutex
	score  *os.File // the agent's oom_score_adj
	cgroup dir      // the parent of the commands' cgroups, or noDir
	next   int
	left   []string // cgroups of commands that left processes behind
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

// process is a command that runs.
type process struct {
	*os.Process
	cgroup string   // its name, or ""
	killer *os.File // of the cgroup; open, so that killing needs no resources
}

// start starts c with these standard files.
func (s *starter) start(c *command, files []*os.File) (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.try(c, files, true)
	if err != nil && s.cgroup != noDir && !errors.Is(err, os.ErrNotExist) {
		// Linux before 5.7 cannot start a process in a cgroup.
		if p, err = s.try(c, files, false); err == nil {
			s.cgroup = noDir
		}
	}
	// StartProcess names the path, and the caller names the command.
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return p, err
}

func (s *starter) try(c *command, files []*os.File, inCgroup bool) (*process, error) {
	p := new(process)
	attr := &os.ProcAttr{
		Dir: c.dir, Env: c.env, Files: files,
		// A new session: signals reach all of the command, and it has no
		// terminal to read from.
		Sys: &syscall.SysProcAttr{Setsid: true, Credential: c.cred},
	}
	if inCgroup {
		if group := s.makeCgroup(p); group != nil {
			defer group.Close()
			attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(group.Fd())
		}
	}
	// Children inherit the score, and may have children of their own before the
	// agent could change it.
	s.setScore("0")
	defer s.setScore("-1000")
	var err error
	if p.Process, err = os.StartProcess(c.path, c.args, attr); err != nil {
		s.removeCgroup(p)
		return nil, err
	}
	return p, nil
}

func (s *starter) setScore(score string) {
	if s.score != nil {
		s.score.WriteAt([]byte(score), 0)
	}
}

// makeCgroup makes a cgroup for p and opens it, or returns nil.
func (s *starter) makeCgroup(p *process) *os.File {
	if s.cgroup == noDir {
		return nil
	}
	// What earlier commands left behind may have ended since.
	left := s.left[:0]
	for _, name := range s.left {
		if err := s.cgroup.rmdir(name); errors.Is(err, syscall.EBUSY) {
			left = append(left, name)
		}
	}
	s.left = left
	s.next++
	name := strconv.Itoa(s.next)
	for errors.Is(s.cgroup.mkdir(name), os.ErrExist) {
		s.next++
		name = strconv.Itoa(s.next)
	}
	killer, err := s.cgroup.open(name+"/cgroup.kill", syscall.O_WRONLY)
	if err != nil {
		// Linux before 5.14 cannot kill a cgroup.
		s.cgroup.rmdir(name)
		return nil
	}
	group, err := s.cgroup.open(name, syscall.O_RDONLY|syscall.O_DIRECTORY)
	if err != nil {
		killer.Close()
		return nil
	}
	p.cgroup, p.killer = name, killer
	return group
}

// removeCgroup removes the cgroup of p, now or when its last process has ended.
func (s *starter) removeCgroup(p *process) {
	if p.killer == nil {
		return
	}
	p.killer.Close()
	if err := s.cgroup.rmdir(p.cgroup); errors.Is(err, syscall.EBUSY) {
		s.left = append(s.left, p.cgroup)
	}
}

// release forgets a command that ended.
func (s *starter) release(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeCgroup(p)
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
	if p.killer != nil {
		p.killer.WriteString("1")
	}
	syscall.Kill(-p.Pid, syscall.SIGKILL)
}
