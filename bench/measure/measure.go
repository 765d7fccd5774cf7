// Package measure runs contestants in turn and measures each run.
package measure

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// A Sample is the measurement of one run.
type Sample struct {
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu,omitempty"`    // seconds of processor time, in user and system mode
	Memory  int64   `json:"memory,omitempty"` // largest resident set, or heap, in bytes
	Disk    int64   `json:"disk,omitempty"`   // bytes that files occupy
	// TestMemory is the part of a process that runs machines, in bytes per machine.
	TestMemory int64 `json:"test-memory,omitempty"`
}

// A Contestant is one way to do the task.
type Contestant struct {
	Name    string
	Prepare func() error // not measured; nil for nothing
	Run     func() (Sample, error)
}

// A Comparison has the measurements of several contestants with the same task.
// Samples has, for each of Names, one sample per round.
type Comparison struct {
	Case    string     `json:"case"`
	Names   []string   `json:"contestants"`
	Samples [][]Sample `json:"samples"`
}

// Compare runs the contestants in turn, A B C A B C and so on, so that other load
// on the machine affects all alike. A first round warms caches and is not counted.
func Compare(name string, rounds int, contestants ...Contestant) (Comparison, error) {
	return compare(name, -1, rounds, contestants)
}

// CompareCold is Compare without a first round that is not counted, for contestants that
// take minutes.
func CompareCold(name string, rounds int, contestants ...Contestant) (Comparison, error) {
	return compare(name, 0, rounds, contestants)
}

// compare counts the rounds from 0 on.
func compare(name string, first, rounds int, contestants []Contestant) (Comparison, error) {
	c := Comparison{Case: name, Samples: make([][]Sample, len(contestants))}
	for _, contestant := range contestants {
		c.Names = append(c.Names, contestant.Name)
	}
	for round := first; round < rounds; round++ {
		for i, contestant := range contestants {
			sample, err := contestant.run()
			if err != nil {
				return c, fmt.Errorf("%s: %w", strings.TrimPrefix(name+": "+contestant.Name, ": "), err)
			}
			if round >= 0 {
				c.Samples[i] = append(c.Samples[i], sample)
			}
		}
	}
	return c, nil
}

func (c Contestant) run() (Sample, error) {
	if c.Prepare != nil {
		if err := c.Prepare(); err != nil {
			return Sample{}, err
		}
	}
	return c.Run()
}

// Process runs a program to its end and measures it. If it fails, the error has its
// output.
//
// Linux counts the memory of the process that started it as well (exec_mmap in
// fs/exec.c keeps the larger of both), so this program must stay small.
func Process(dir, program string, args ...string) (Sample, error) {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	var output bytes.Buffer
	cmd.Stderr = &output
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return Sample{}, fmt.Errorf("%s: %w: %s", cmd, err, bytes.TrimSpace(output.Bytes()))
	}
	elapsed := time.Since(start)
	state := cmd.ProcessState
	return Sample{
		Seconds: elapsed.Seconds(),
		CPU:     (state.UserTime() + state.SystemTime()).Seconds(),
		Memory:  state.SysUsage().(*syscall.Rusage).Maxrss * 1024,
	}, nil
}

// DiskUsage returns the bytes that the files occupy on disk. Holes do not count.
func DiskUsage(paths ...string) (int64, error) {
	var sum int64
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return 0, err
		}
		sum += info.Sys().(*syscall.Stat_t).Blocks * 512
	}
	return sum, nil
}
