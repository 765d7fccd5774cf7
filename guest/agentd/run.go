//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// run runs a command and returns an encoded Exit.
func (a *agent) run(q *protocol.Request) ([]byte, error) {
	var m protocol.Run
	if err := q.Body(&m); err != nil {
		return nil, err
	}
	c, err := prepare(&m)
	if err != nil {
		return nil, err
	}
	var streams *streams
	if m.Terminal {
		if c.terminal, err = openTerminal(&m, c.uid); err != nil {
			return nil, fmt.Errorf("run %q: %w", m.Args[0], err)
		}
		streams = terminalStreams(&m, c.terminal)
	} else {
		streams, err = openStreams(&m)
	}
	if err != nil {
		return nil, err
	}
	defer streams.closeChild()
	p, err := a.start.start(c, streams.child)
	streams.closeChild()
	if err != nil {
		streams.close()
		return nil, fmt.Errorf("run %q: %w", m.Args[0], err)
	}
	q.Started(uint32(p.Pid))
	streams.copy(q)

	ended := make(chan *os.ProcessState, 1)
	go func() {
		state, err := p.Wait()
		if err != nil {
			logf("wait for process %d: %v", p.Pid, err)
		}
		ended <- state
	}()
	var limit <-chan time.Time
	if m.TimeLimit > 0 {
		timer := time.NewTimer(time.Duration(m.TimeLimit))
		defer timer.Stop()
		limit = timer.C
	}
	exit := protocol.Exit{}
	canceled := q.Context().Done()
	for {
		select {
		case state := <-ended:
			streams.finish()
			a.start.release(p)
			if err := q.Context().Err(); err != nil {
				return nil, err
			}
			if state == nil {
				return nil, fmt.Errorf("run %q: its exit status is lost", m.Args[0])
			}
			if status := state.Sys().(syscall.WaitStatus); status.Signaled() {
				exit.Signal = uint32(status.Signal())
			} else {
				exit.Status = uint32(status.ExitStatus())
			}
			return protocol.Encode(&exit), nil
		case <-q.Signaled():
			for n := q.TakeSignal(); n != 0; n = q.TakeSignal() {
				p.signal(syscall.Signal(n))
			}
			if rows, columns, ok := q.TakeSize(); ok && c.terminal != nil {
				c.terminal.resize(rows, columns)
			}
		case <-limit:
			exit.TimedOut = true
			p.kill()
		case <-canceled:
			canceled = nil
			p.kill()
		}
	}
}

// command is a Run message with the paths and numbers of this guest.
type command struct {
	path string
	args []string
	env  []string
	dir  string
	cred *syscall.Credential

	uid      uint32
	terminal *terminal // nil without one
}

// prepare finds the user, the environment, the directory and the program.
func prepare(m *protocol.Run) (*command, error) {
	if !m.Shell && (len(m.Args) == 0 || m.Args[0] == "") {
		return nil, errors.New("run: no program is named")
	}
	u, err := lookupUser(m.User)
	if err != nil {
		return nil, err
	}
	if m.Shell {
		m.Args = append([]string{u.loginShell()}, m.Args...)
	}
	c := &command{args: m.Args, dir: m.Dir, uid: u.uid}
	// A command of root keeps the agent's credentials: setgroups may be forbidden.
	if m.User != "" {
		c.cred = &syscall.Credential{Uid: u.uid, Gid: u.gid, Groups: u.groups}
	}
	env := []string{"PATH=" + defaultPath, "HOME=" + u.home, "USER=" + u.name, "LOGNAME=" + u.name}
	if m.Shell {
		env = append(env, "SHELL="+m.Args[0])
	}
	c.env, err = mergeEnv(env, m.Env)
	if err != nil {
		return nil, err
	}
	if c.dir == "" {
		c.dir = u.home
		if info, err := os.Stat(c.dir); err != nil || !info.IsDir() {
			c.dir = "/"
		}
	} else if info, err := os.Stat(c.dir); err != nil {
		// The error of a failed exec would not say which of the two is missing.
		return nil, fmt.Errorf("run %q: working directory: %w", m.Args[0], err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("run %q: working directory %s is not a directory", m.Args[0], c.dir)
	}
	c.path, err = lookPath(m.Args[0], c.env)
	return c, err
}

// mergeEnv adds variables to defaults. Later ones replace earlier ones.
func mergeEnv(defaults, more []string) ([]string, error) {
	var env []string
	at := make(map[string]int)
	for _, kv := range append(defaults, more...) {
		key, _, ok := strings.Cut(kv, "=")
		if !ok || key == "" || strings.ContainsRune(kv, 0) {
			return nil, fmt.Errorf("run: environment variable %.100q must be KEY=value", kv)
		}
		if i, ok := at[key]; ok {
			env[i] = kv
			continue
		}
		at[key] = len(env)
		env = append(env, kv)
	}
	return env, nil
}

// lookPath finds a program as execvpe does, with the PATH of the command.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	var path string
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("run %q: program not found in PATH=%s: %w", name, path, syscall.ENOENT)
}
