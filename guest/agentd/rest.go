//go:build linux

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

const (
	// The guest is at rest when its processors are idle for restShare of restWindow. A
	// processor that waits for a disk is not idle.
	restWindow = 300 * time.Millisecond
	restShare  = 0.9
	// clockTick is the unit of times in /proc: USER_HZ of Linux.
	clockTick = 10 * time.Millisecond
)

// rest waits until the guest is at rest, and returns an encoded Rested.
func (a *agent) rest(q *protocol.Request) ([]byte, error) {
	var m protocol.Rest
	if err := q.Body(&m); err != nil {
		return nil, err
	}
	begin := time.Now()
	before, err := a.processorTimes()
	if err != nil {
		return nil, err
	}
	// What is not written yet would be written in every machine that resumes.
	written := make(chan struct{})
	go func() {
		defer close(written)
		syscall.Sync()
	}()
	select {
	case <-written:
	case <-time.After(time.Duration(m.Limit)): // a disk may be slow, or hang
	case <-q.Context().Done():
		return nil, q.Context().Err()
	}
	var rested protocol.Rested
	for !rested.AtRest && time.Since(begin) < time.Duration(m.Limit) {
		if rested.AtRest, err = a.restsFor(q, restWindow); err != nil {
			return nil, err
		}
	}
	after, err := a.processorTimes()
	if err != nil {
		return nil, err
	}
	rested.Busy = busiest(before, after)
	return protocol.Encode(&rested), nil
}

// restsFor reports whether the guest rests for some time from now.
func (a *agent) restsFor(q *protocol.Request, window time.Duration) (bool, error) {
	begin := time.Now()
	before, processors, err := a.idleTime()
	if err != nil {
		return false, err
	}
	select {
	case <-time.After(window):
	case <-q.Context().Done():
		return false, q.Context().Err()
	}
	after, _, err := a.idleTime()
	if err != nil {
		return false, err
	}
	share := float64(after-before+clockTick) / float64(time.Since(begin)*time.Duration(processors))
	return share >= restShare, nil
}

// idleTime returns the time for which the processors were idle since the boot, all
// together.
func (a *agent) idleTime() (idle time.Duration, processors int, err error) {
	stat, err := a.kernel.proc.read("stat")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(stat) {
		name, numbers, _ := strings.Cut(line, " ")
		if fields := strings.Fields(numbers); name == "cpu" && len(fields) > 3 {
			ticks, _ := strconv.ParseInt(fields[3], 10, 64)
			idle = time.Duration(ticks) * clockTick
		} else if strings.HasPrefix(name, "cpu") {
			processors++
		}
	}
	if processors == 0 {
		return 0, 0, fmt.Errorf("/proc/stat has no times of processors: %.200q", stat)
	}
	return idle, processors, nil
}

// A program is a process, by its number and the name of its program.
type program struct{ pid, name string }

// processorTimes returns how long each process has run.
func (a *agent) processorTimes() (map[program]time.Duration, error) {
	names, err := a.kernel.proc.list(".")
	if err != nil {
		return nil, err
	}
	times := make(map[program]time.Duration)
	for _, pid := range names {
		if _, err := strconv.Atoi(pid); err != nil {
			continue
		}
		stat, err := a.kernel.proc.read(pid + "/stat")
		if err != nil {
			continue // it has ended
		}
		// PID (NAME) STATE and numbers. The name may have parentheses.
		open, end := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
		if open < 0 || end < open {
			continue
		}
		if fields := strings.Fields(stat[end+1:]); len(fields) > 12 {
			user, _ := strconv.ParseInt(fields[11], 10, 64)
			system, _ := strconv.ParseInt(fields[12], 10, 64)
			times[program{pid, stat[open+1 : end]}] = time.Duration(user+system) * clockTick
		}
	}
	return times, nil
}

// busiest names the three programs that ran for the longest between two times.
func busiest(before, after map[program]time.Duration) string {
	ran := make(map[string]time.Duration)
	var names []string
	for p, t := range after {
		if t -= before[p]; t <= 0 {
			continue
		}
		if ran[p.name] == 0 {
			names = append(names, p.name)
		}
		ran[p.name] += t
	}
	slices.SortFunc(names, func(a, b string) int {
		if ran[a] != ran[b] {
			return int(ran[b] - ran[a])
		}
		return strings.Compare(a, b)
	})
	var list []string
	for _, name := range names[:min(len(names), 3)] {
		list = append(list, fmt.Sprintf("%s %.2f s", name, ran[name].Seconds()))
	}
	return strings.Join(list, ", ")
}
