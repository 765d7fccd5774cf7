package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
	exe    string // "" if it belongs to another user
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
	if len(fields) < 2 {
		return nil, fmt.Errorf("unexpected content: %q", stat)
	}
	parent, err := strconv.Atoi(fields[1])
	return &processInfo{state: fields[0], parent: parent}, err
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
