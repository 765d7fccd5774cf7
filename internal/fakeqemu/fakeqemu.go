// Package fakeqemu stands for QEMU in tests. It speaks QMP, and behaves as a real QEMU
// rarely does: it hangs, dies or answers wrongly at a certain moment.
//
// A test binary is its own fake: its TestMain calls Main.
package fakeqemu

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

// option is an argument of a fake. The next argument is the name of a behaviour.
const option = "-fake"

// Args returns the arguments that make a test binary a fake: values for
// Config.QEMUArgs, with the binary as Config.QEMU.
func Args(behaviour string) []machine.Argument { return machine.Arguments(option, behaviour) }

// ArgsWithAgent returns the arguments of a fake that runs the agent's program, for a
// machine with an agent. The agent runs on this host: a request to power off would power
// off the host.
func ArgsWithAgent(program string) []machine.Argument {
	return append(Args("has the agent"), machine.Argument{program})
}

// Main does not return if this process is to be a fake.
func Main() {
	if i := slices.Index(os.Args, option); i > 0 && i+1 < len(os.Args) {
		behaviours[os.Args[i+1]](&qemu{conn: descriptor("qmp")})
		os.Exit(0)
	}
}

// descriptor opens the file descriptor to which a character device is connected.
func descriptor(device string) *os.File {
	for _, arg := range os.Args {
		var fd uintptr
		if n, _ := fmt.Sscanf(arg, "socket,id="+device+",fd=%d", &fd); n == 1 {
			return os.NewFile(fd, device)
		}
	}
	panic("no character device " + device)
}

// A qemu is a fake.
type qemu struct{ conn *os.File }

// behaviours are those of fakes, by name.
var behaviours = map[string]func(*qemu){
	"powers off": func(q *qemu) { q.serve(after("cont", powerOff)) },
	"powers off, does not quit": func(q *qemu) {
		q.serve(after("cont", powerOff), after("quit", hang))
	},
	"powers off, does not answer quit": func(q *qemu) {
		q.serve(after("cont", powerOff), instead("quit", hang))
	},
	"runs":                     func(q *qemu) { q.serve() },
	"runs, does not quit":      func(q *qemu) { q.serve(after("quit", hang)) },
	"a child keeps the output": func(q *qemu) { startChild(false); q.serve() },
	"a child leaves the group": func(q *qemu) { startChild(true); q.serve() },
	"dies before the greeting": func(q *qemu) { die(q) },
	"dies in qmp_capabilities": func(q *qemu) { q.serve(instead("qmp_capabilities", die)) },
	"dies in cont":             func(q *qemu) { q.serve(instead("cont", die)) },
	"is killed in cont": func(q *qemu) {
		q.serve(instead("cont", func(*qemu) { syscall.Kill(os.Getpid(), syscall.SIGKILL); hang(nil) }))
	},
	"panics": func(q *qemu) {
		q.serve(after("cont", func(*qemu) { fmt.Println("Kernel panic - not syncing: Attempted to kill init!") }))
	},
	"dies after cont":          func(q *qemu) { q.serve(after("cont", die)) },
	"refuses qmp_capabilities": func(q *qemu) { q.serve(refuse("qmp_capabilities")) },
	"refuses cont":             func(q *qemu) { q.serve(refuse("cont")) },
	"is silent":                func(q *qemu) { hang(q) },
	"closes QMP after cont":    func(q *qemu) { q.serve(after("cont", func(q *qemu) { q.conn.Close(); hang(q) })) },
	"closes QMP":               func(q *qemu) { q.conn.Close(); hang(q) },
	"sends garbage":            func(q *qemu) { fmt.Fprintln(q.conn, "HTTP/1.1 400 Bad Request"); hang(q) },
	"sends garbage after cont": func(q *qemu) { q.serve(after("cont", func(q *qemu) { fmt.Fprintln(q.conn, "]]"); hang(q) })) },
	"has KVM errors after cont": func(q *qemu) {
		q.serve(after("cont", func(*qemu) { fmt.Fprintln(os.Stderr, "KVM internal error. Suberror: 1") }))
	},
	"migrates": migrate,
	"does not migrate": func(q *qemu) {
		q.serve(answer("qom-get", "pc-q35-11.0-machine"), answer("query-migrate", map[string]any{"status": "failed", "error-desc": "no"}))
	},
	"powers off in a migration": func(q *qemu) {
		q.serve(answer("qom-get", "pc-q35-11.0-machine"), rule{command: "query-migrate", answers: true, value: map[string]any{"status": "completed"}, first: powerOff})
	},
	// These need a machine with an agent.
	"has an agent that hangs": func(q *qemu) {
		go runAgent(func(*protocol.Request) { hang(nil) })
		q.serve()
	},
	"has an agent that hangs, does not quit": func(q *qemu) {
		go runAgent(func(*protocol.Request) { hang(nil) })
		q.serve(after("quit", hang))
	},
	"has commands that write without end": func(q *qemu) {
		go runAgent(writeWithoutEnd)
		q.serve()
	},
	"migrates, is at rest": func(q *qemu) {
		go runAgent(saved(protocol.Rested{AtRest: true}))
		migrate(q)
	},
	"migrates, is busy": func(q *qemu) {
		go runAgent(saved(protocol.Rested{Busy: "sh 9.87 s"}))
		migrate(q)
	},
	"migrates, does not stop its programs": func(q *qemu) {
		go runAgent(saved(protocol.Rested{AtRest: true}, protocol.OpFreeze))
		migrate(q)
	},
	"migrates, does not set its clock": func(q *qemu) {
		go runAgent(saved(protocol.Rested{AtRest: true}, protocol.OpConfigure))
		migrate(q)
	},
	"migrates, its agent hangs": func(q *qemu) {
		handle := saved(protocol.Rested{AtRest: true})
		go runAgent(func(q *protocol.Request) {
			if q.Op == protocol.OpConfigure {
				hang(nil)
			}
			handle(q)
		})
		migrate(q)
	},
	"has the agent": func(q *qemu) {
		agent := startProgram(os.Args[slices.Index(os.Args, option)+2])
		q.serve()
		agent.Process.Kill() // it holds standard error open
		agent.Wait()
	},
	"has no space after cont": func(q *qemu) {
		q.serve(after("cont", func(q *qemu) {
			q.send(map[string]any{"event": "BLOCK_IO_ERROR", "data": map[string]any{"action": "stop", "node-name": "disk0", "reason": "No space left on device"}})
		}))
	},
}

func (q *qemu) send(message map[string]any) {
	if json.NewEncoder(q.conn).Encode(message) != nil {
		os.Exit(0) // the test is over
	}
}

// A rule changes how a fake handles one command.
type rule struct {
	command string
	answers bool
	refuses bool
	value   any         // of the answer
	first   func(*qemu) // before the answer
	do      func(*qemu) // after it
}

func after(command string, do func(*qemu)) rule {
	return rule{command: command, answers: true, do: do}
}
func instead(command string, do func(*qemu)) rule { return rule{command: command, do: do} }
func answer(command string, value any) rule {
	return rule{command: command, answers: true, value: value}
}
func refuse(command string) rule { return rule{command: command, refuses: true} }

// serve answers all commands, and ends with quit.
func (q *qemu) serve(rules ...rule) {
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

// migrate saves and restores states that are empty.
func migrate(q *qemu) {
	// In front of the answer, the console shows that the machine is paused.
	stopped := rule{command: "stop", answers: true, first: func(*qemu) { fmt.Println("paused") }}
	q.serve(stopped, answer("qom-get", "pc-q35-11.0-machine"), answer("query-migrate", map[string]any{"status": "completed"}))
}

func powerOff(q *qemu) {
	q.send(map[string]any{"event": "SHUTDOWN", "data": map[string]any{"guest": true, "reason": "guest-shutdown"}})
}

func hang(*qemu) { time.Sleep(time.Hour) }

func die(*qemu) {
	fmt.Fprintln(os.Stderr, "qemu: cannot go on")
	os.Exit(7)
}

// runAgent answers a hello as an agent does, and calls handle for each request.
func runAgent(handle func(*protocol.Request)) {
	channel := descriptor("agent")
	r, w := bufio.NewReaderSize(channel, 2*protocol.MaxFrame), protocol.NewWriter(channel)
	hello, err := protocol.ReadHello(r)
	if err == nil {
		err = w.WriteAnswer(protocol.Answer{
			Nonce: hello.Nonce, Version: protocol.Version, Name: protocol.AgentName, Info: protocol.Encode(&protocol.Info{}),
		})
	}
	if err == nil {
		err = protocol.NewSession(w, hello.Nonce, handle).Serve(r)
	}
	fmt.Fprintln(os.Stderr, "fake agent:", err)
}

// startProgram starts the program of the agent.
func startProgram(path string) *exec.Cmd {
	channel := descriptor("agent")
	defer channel.Close()
	agent := exec.Command(path, "-fd", "3")
	agent.ExtraFiles = []*os.File{channel}
	agent.Stderr = os.Stderr
	if err := agent.Start(); err != nil {
		panic(err)
	}
	return agent
}

// saved returns a handler of the requests to a guest that is saved and resumes, which refuses
// some of them.
func saved(rested protocol.Rested, refused ...protocol.Op) func(*protocol.Request) {
	return func(q *protocol.Request) {
		var result protocol.Result
		switch {
		case slices.Contains(refused, q.Op):
			result.Error = "refused"
		case q.Op == protocol.OpRest:
			result.Body = string(protocol.Encode(&rested))
		case q.Op == protocol.OpConfigure:
			result.Body = string(protocol.Encode(&protocol.Clock{}))
		}
		q.Finish(result)
	}
}

// writeWithoutEnd is a command that fills its standard output until it is canceled.
func writeWithoutEnd(q *protocol.Request) {
	q.Started(1)
	out, zeros := q.Writer(protocol.Data), make([]byte, 1<<20)
	for {
		if _, err := out.Write(zeros); err != nil {
			q.Finish(protocol.Failure(err, func(error) uint32 { return 0 }))
			return
		}
	}
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
