package vm

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fakeOption makes this test binary a fake QEMU. Its value is the name of a behaviour.
const fakeOption = "-fake"

func TestMain(m *testing.M) {
	if i := slices.Index(os.Args, fakeOption); i > 0 {
		behaviours[os.Args[i+1]](&fakeQEMU{conn: os.NewFile(3, "QMP")})
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A fakeQEMU speaks QMP. It does what a real QEMU rarely does.
type fakeQEMU struct{ conn *os.File }

// behaviours are those of fakes, by name.
var behaviours = map[string]func(*fakeQEMU){
	"powers off": func(q *fakeQEMU) { q.serve(after("cont", powerOff)) },
	"powers off, does not quit": func(q *fakeQEMU) {
		q.serve(after("cont", powerOff), after("quit", hang))
	},
	"powers off, does not answer quit": func(q *fakeQEMU) {
		q.serve(after("cont", powerOff), instead("quit", hang))
	},
	"runs":                     func(q *fakeQEMU) { q.serve() },
	"runs, does not quit":      func(q *fakeQEMU) { q.serve(after("quit", hang)) },
	"runs, dies in quit":       func(q *fakeQEMU) { q.serve(instead("quit", die)) },
	"a child keeps the output": func(q *fakeQEMU) { startChild(false); q.serve() },
	"a child leaves the group": func(q *fakeQEMU) { startChild(true); q.serve() },
	"dies before the greeting": func(q *fakeQEMU) { die(q) },
	"dies in qmp_capabilities": func(q *fakeQEMU) { q.serve(instead("qmp_capabilities", die)) },
	"dies in cont":             func(q *fakeQEMU) { q.serve(instead("cont", die)) },
	"is killed in cont": func(q *fakeQEMU) {
		q.serve(instead("cont", func(*fakeQEMU) { syscall.Kill(os.Getpid(), syscall.SIGKILL); hang(nil) }))
	},
	"dies after cont":          func(q *fakeQEMU) { q.serve(after("cont", die)) },
	"refuses qmp_capabilities": func(q *fakeQEMU) { q.serve(refuse("qmp_capabilities")) },
	"refuses cont":             func(q *fakeQEMU) { q.serve(refuse("cont")) },
	"is silent":                func(q *fakeQEMU) { hang(q) },
	"closes QMP after cont":    func(q *fakeQEMU) { q.serve(after("cont", func(q *fakeQEMU) { q.conn.Close(); hang(q) })) },
	"closes QMP":               func(q *fakeQEMU) { q.conn.Close(); hang(q) },
	"sends garbage":            func(q *fakeQEMU) { fmt.Fprintln(q.conn, "HTTP/1.1 400 Bad Request"); hang(q) },
	"sends garbage after cont": func(q *fakeQEMU) { q.serve(after("cont", func(q *fakeQEMU) { fmt.Fprintln(q.conn, "]]"); hang(q) })) },
	"has KVM errors after cont": func(q *fakeQEMU) {
		q.serve(after("cont", func(*fakeQEMU) { fmt.Fprintln(os.Stderr, "KVM internal error. Suberror: 1") }))
	},
	"migrates": func(q *fakeQEMU) {
		q.serve(answer("qom-get", "pc-q35-11.0-machine"), answer("query-migrate", map[string]any{"status": "completed"}))
	},
	"does not migrate": func(q *fakeQEMU) {
		q.serve(answer("qom-get", "pc-q35-11.0-machine"), answer("query-migrate", map[string]any{"status": "failed", "error-desc": "no"}))
	},
	"powers off in a migration": func(q *fakeQEMU) {
		q.serve(answer("qom-get", "pc-q35-11.0-machine"), rule{command: "query-migrate", answers: true, value: map[string]any{"status": "completed"}, first: powerOff})
	},
	"has no space after cont": func(q *fakeQEMU) {
		q.serve(after("cont", func(q *fakeQEMU) {
			q.send(map[string]any{"event": "BLOCK_IO_ERROR", "data": map[string]any{"action": "stop", "node-name": "disk0", "reason": "No space left on device"}})
		}))
	},
}

func (q *fakeQEMU) send(message map[string]any) {
	if json.NewEncoder(q.conn).Encode(message) != nil {
		os.Exit(0) // the test is over
	}
}

// A rule changes how a fake handles one command.
type rule struct {
	command string
	answers bool
	refuses bool
	value   any             // of the answer
	first   func(*fakeQEMU) // before the answer
	do      func(*fakeQEMU) // after it
}

func after(command string, do func(*fakeQEMU)) rule {
	return rule{command: command, answers: true, do: do}
}
func instead(command string, do func(*fakeQEMU)) rule { return rule{command: command, do: do} }
func answer(command string, value any) rule {
	return rule{command: command, answers: true, value: value}
}
func refuse(command string) rule { return rule{command: command, refuses: true} }

// serve answers all commands, and ends with quit.
func (q *fakeQEMU) serve(rules ...rule) {
	q.send(map[string]any{"QMP": map[string]any{}})
	for commands := json.NewDecoder(q.conn); ; {
		var command struct {
			Execute string `json:"execute"`
			ID      int    `json:"id"`
		}
		if commands.Decode(&command) != nil {
			hang(q) // like a guest that runs on
		}
		r := rule{answers: true}
		if i := slices.IndexFunc(rules, func(r rule) bool { return r.command == command.Execute }); i >= 0 {
			r = rules[i]
		}
		if r.first != nil {
			r.first(q)
		}
		if r.value == nil {
			r.value = map[string]any{}
		}
		switch {
		case r.refuses:
			q.send(map[string]any{"id": command.ID, "error": map[string]any{"class": "GenericError", "desc": "refused"}})
		case r.answers:
			q.send(map[string]any{"id": command.ID, "return": r.value})
		}
		if r.do != nil {
			r.do(q)
		}
		if command.Execute == "quit" {
			return
		}
	}
}

func powerOff(q *fakeQEMU) {
	q.send(map[string]any{"event": "SHUTDOWN", "data": map[string]any{"guest": true, "reason": "guest-shutdown"}})
}

func hang(*fakeQEMU) { time.Sleep(time.Hour) }

func die(*fakeQEMU) {
	fmt.Fprintln(os.Stderr, "qemu: cannot go on")
	os.Exit(7)
}

// startChild starts a process that keeps standard output open.
func startChild(session bool) {
	child := exec.Command("sleep", "1000")
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: session}
	if err := child.Start(); err != nil {
		panic(err)
	}
	fmt.Println("child", child.Process.Pid)
}

// fakeMachine describes a machine that a fake QEMU runs.
func fakeMachine(t *testing.T, behaviour string) *Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &Config{
		Target: "//:fake", QEMU: self, Arch: "x86_64", Machine: "q35", CPUModel: "max", CPUs: 1, Memory: "32M", Accel: "tcg",
		QEMUArgs: []string{fakeOption, behaviour},
	}
}

// startFake starts a machine that must start, and ends it with the test.
func startFake(t *testing.T, behaviour string, change func(*Config, *Options)) *Machine {
	t.Helper()
	c, o := fakeMachine(t, behaviour), Options{Dir: t.TempDir(), Logs: t.TempDir(), FailOn: DefaultFailOn}
	if change != nil {
		change(c, &o)
	}
	m, err := Start(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// wantWords checks that an error has all words.
func wantWords(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("got error %v, want one with %q", err, word)
		}
	}
}
