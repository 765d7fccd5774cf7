package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// findCaller returns the process that uses the machine: the nearest one above this one
// that is a program of its own. In `x=$(timeout 60 vm start vm | tail -1)` of a script,
// that is the script, not what a shell starts on the way and ends at once:
//   - a wrapper, whose arguments end with those of this process, such as timeout;
//   - a copy of its own parent, such as a shell for a pipe or `$(…)`.
func findCaller() (int, error) {
	pid := os.Getppid()
	own := os.Args[1:]
	for {
		p, err := readProcess(pid)
		if err != nil {
			return 0, fmt.Errorf("process %d, which started this one: %w", pid, err)
		}
		parent, err := readProcess(p.parent)
		if err != nil {
			return pid, nil // the first process, or one of another user
		}
		isWrapper := len(p.args) > len(own) && slices.Equal(p.args[len(p.args)-len(own):], own)
		isCopy := p.exe != "" && p.exe == parent.exe && slices.Equal(p.args, parent.args)
		if !isWrapper && !isCopy {
			return pid, nil
		}
		pid = p.parent
	}
}

// A processInfo is a process as /proc shows it.
type processInfo struct {
	parent int
	state  string
	start  time.Duration // since the host's boot
	exe    string        // "" if it belongs to another user
	args   []string
}

func readProcess(pid int) (*processInfo, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return nil, err
	}
	p, err := parseStat(stat)
	if err != nil {
		return nil, err
	}
	line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return nil, err
	}
	p.args = strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	p.exe, _ = os.Readlink(filepath.Join(dir, "exe"))
	return p, nil
}

// parseStat reads /proc/PID/stat: the name in parentheses may have any character.
func parseStat(stat []byte) (*processInfo, error) {
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return nil, fmt.Errorf("unexpected content: %q", stat)
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return nil, err
	}
	// Linux counts hundredths of a second for programs, whatever it does itself.
	start, err := strconv.ParseInt(fields[19], 10, 64)
	return &processInfo{state: fields[0], parent: parent, start: time.Duration(start) * time.Second / 100}, err
}

// testAge returns the age of the test that a process belongs to: that of its oldest
// ancestor with the test's time limit in its environment. It is 0 if that is not known.
func testAge(pid int) time.Duration {
	now, err := uptime()
	if err != nil {
		return 0
	}
	start := now
	for {
		p, err := readProcess(pid)
		if err != nil || !inSameTest(pid) {
			return now - start
		}
		start, pid = p.start, p.parent
	}
}

// inSameTest reports whether a process has the variables of this process's test.
func inSameTest(pid int) bool {
	environment, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return false
	}
	variables := strings.Split(string(environment), "\x00")
	for _, name := range []string{"TEST_TIMEOUT", "TEST_TARGET"} {
		if value, ok := os.LookupEnv(name); ok && !slices.Contains(variables, name+"="+value) {
			return false
		}
	}
	return true
}

// uptime returns the time since the host's boot.
func uptime() (time.Duration, error) {
	b, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(b), " ")
	return time.ParseDuration(first + "s")
}

// A tie tells when a process ends.
type tie struct{ stat *os.File }

func newTie(pid int) *tie {
	// If the process has ended already, the file is nil.
	stat, _ := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return &tie{stat}
}

// ended reports whether the process has ended. An open file of /proc stays that of the
// process, whoever gets its number.
func (t *tie) ended() bool {
	b := make([]byte, 4096)
	n, _ := t.stat.ReadAt(b, 0)
	p, err := parseStat(b[:max(n, 0)])
	return err != nil || p.state == "Z" || p.state == "X"
}
