//go:build linux

package main

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// executions is in the environment of a process that executes itself so many times.
const executions = "TEST_EXECUTIONS"

func TestMain(m *testing.M) {
	if n, err := strconv.Atoi(os.Getenv(executions)); err == nil {
		executeAgain(n)
	}
	os.Exit(m.Run())
}

// executeAgain executes this program from a thread that does not lead the process.
func executeAgain(n int) {
	if n == 0 {
		select {}
	}
	os.Setenv(executions, strconv.Itoa(n-1))
	for {
		go func() {
			runtime.LockOSThread()
			if syscall.Gettid() != os.Getpid() {
				panic(syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
			}
			select {}
		}()
		time.Sleep(time.Millisecond)
	}
}

// The root of process 1 can be asked for at any time, also while the agent executes
// the init.
func TestNewRootDuringExec(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), executions+"=300")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	proc, err := openDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	found, absent := 0, 0
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		root, err := newRoot(proc, strconv.Itoa(cmd.Process.Pid), 0)
		if err != nil {
			t.Fatalf("after %d roots: %v", found, err)
		}
		if root < 0 {
			absent++
			continue
		}
		found++
		syscall.Close(root)
	}
	t.Logf("there %d times, not there %d times", found, absent)
	if found == 0 {
		t.Error("the root was never there")
	}
}

// A process whose root is still the initrd has no new root.
func TestNewRootInInitrd(t *testing.T) {
	proc, err := openDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat("/", &st); err != nil {
		t.Fatal(err)
	}
	if root, err := newRoot(proc, "self", st.Dev); root >= 0 || err != nil {
		t.Errorf("newRoot = %d, %v, want -1", root, err)
	}
}
