package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// callerCommand makes this test binary print the result of findCaller.
const callerCommand = "print-caller"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == callerCommand {
		pid, err := findCaller()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(pid)
		os.Exit(0)
	}
	if len(os.Args) > 1 && os.Args[1] == serveCommand {
		panic("the server crashes")
	}
	os.Exit(m.Run())
}

// A server that crashes says why.
func TestServerCrashes(t *testing.T) {
	err := start(t.Context(), []string{"/target"})
	const want = "start: the process that runs the machine ended without an answer: exit status 2\npanic: the server crashes\n"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// Whatever a script puts around vm start, it is the script that uses the machine.
func TestFindCaller(t *testing.T) {
	for _, shell := range []string{"sh", "dash", "bash"} {
		if _, err := exec.LookPath(shell); err != nil {
			t.Logf("%s is not on PATH", shell)
			continue
		}
		for _, script := range []string{
			`"$0" print-caller "$1"; true`,
			`x=$("$0" print-caller "$1") && echo "$x"`,
			`x=$("$0" print-caller "$1" || exit 1); echo "$x"`,
			`x=$(timeout 600 "$0" print-caller "$1") && echo "$x"`,
			`x=$(env A=1 nice -n 1 "$0" print-caller "$1") && echo "$x"`,
			`"$0" print-caller "$1" | tail -n 1; true`,
			`x=$("$0" print-caller "$1" | tail -n 1) && echo "$x"`,
			`f() { "$0" print-caller "$1"; }; x=$(f "$1") && echo "$x"`,
			`f() { timeout 600 "$0" print-caller "$1" | cat; }; g() { x=$(f "$1") && echo "$x"; }; y=$(g "$1"); echo "$y"`,
			`( ( "$0" print-caller "$1"; true ); true ); true`,
			`"$0" print-caller "$1" & wait`,
		} {
			cmd := exec.Command(shell, "-c", script, os.Args[0], "an argument")
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if got, want := strings.TrimSpace(string(out)), fmt.Sprint(cmd.Process.Pid); err != nil || got != want {
				t.Errorf("%s -c %q: got process %s, %v; want the shell, %s", shell, script, got, err, want)
			}
		}
	}
}

func TestTie(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tie := newTie(cmd.Process.Pid)
	if tie.ended() {
		t.Error("a process that runs has ended")
	}
	cmd.Process.Kill()
	for end := time.Now().Add(time.Minute); !tie.ended(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a process that was killed, and for which nothing waits, has not ended")
		}
	}
	cmd.Wait()
	if !tie.ended() {
		t.Error("a process that is gone has not ended")
	}
	if !newTie(cmd.Process.Pid).ended() {
		t.Error("a process that was gone before has not ended")
	}
}
