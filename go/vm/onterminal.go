package vm

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"syscall"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/go/vm/plan"
	"github.com/rules-qcow2/rules_qcow2/go/vm/qemu"
	"github.com/rules-qcow2/rules_qcow2/internal/onterminal"
)

// startTimeout limits QEMU's own start on a terminal.
const startTimeout = time.Minute

func init() { onterminal.Run = runOnTerminal }

// runOnTerminal is [onterminal.Run].
func runOnTerminal(c *machine.Config, dir string, args []string, messages io.Writer) error {
	from, mismatch, err := resolve(c)
	if err != nil {
		return err
	}
	if mismatch != nil {
		fmt.Fprintf(messages, "%s: the machine boots and does not resume: %v\n", c.Target, mismatch)
	}
	if from != nil {
		if err := from.verify(); err != nil {
			return err
		}
		c = from.config
	}
	l, err := newLaunch(c, from, &Options{Dir: dir})
	if err != nil {
		return err
	}
	if l.copiedRAM {
		fmt.Fprintf(messages, "%s: %s\n", c.Target, copiedRAM(from.fingerprint.QEMU))
	}
	if from != nil {
		// The agent gives the guest the time and random numbers.
		if err := l.addAgent(true); err != nil {
			return err
		}
		l.setup.Cards = from.fingerprint.Cards
	}
	p, err := plan.Make(c, &l.setup)
	if err != nil {
		return err
	}
	var files []*os.File
	if len(p.Descriptors) > 0 { // it is the agent
		conn, theirs, err := qemu.SocketPair(syscall.SOCK_STREAM)
		if err != nil {
			return err
		}
		defer conn.Close()
		defer theirs.Close()
		files = append(files, theirs)
		go welcomeTerminal(c, from, conn, messages)
	}
	fmt.Fprintf(messages, "%s: runs under %s; Ctrl-A X leaves, Ctrl-A H lists other keys\n", c.Target, l.setup.Accelerator)
	command := &qemu.Command{
		Program: c.QEMU, Args: append(p.Args, args...), Env: append(os.Environ(), "TMPDIR="+dir), Files: files,
		OnEvent: func(qemu.Event) {},
	}
	return qemu.Run(command, func(m *qemu.Monitor) error { return startOnTerminal(m, c, from, messages) })
}

// welcomeTerminal prepares a guest that resumes on a terminal.
func welcomeTerminal(c *machine.Config, from *Snapshot, conn net.Conn, messages io.Writer) {
	ctx, cancel := context.WithTimeout(context.Background(), c.TimeLimit(startTimeout))
	defer cancel()
	client, err := agent.New(ctx, conn)
	if err == nil {
		err = from.refresh(ctx, client, nil)
	}
	if err != nil {
		fmt.Fprintf(messages, "%s: %v\n", c.Target, err)
	}
}

// startOnTerminal says which ports are forwarded, and lets the guest run.
func startOnTerminal(m *qemu.Monitor, c *machine.Config, from *Snapshot, messages io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), c.TimeLimit(startTimeout), &TimeError{fmt.Sprintf("the start took %v", c.TimeLimit(startTimeout))})
	defer cancel()
	if _, err := m.Execute(ctx, "qmp_capabilities", nil); err != nil {
		return err
	}
	if len(c.ForwardPorts) > 0 {
		ports, err := m.ForwardedPorts(ctx)
		if err != nil {
			return err
		}
		var guests []string
		for port := range ports {
			guests = append(guests, port)
		}
		sort.Strings(guests)
		for _, guest := range guests {
			fmt.Fprintf(messages, "%s: the guest's port %s is %s\n", c.Target, guest, ports[guest])
		}
	}
	if from != nil {
		if err := m.LoadState(ctx, from.files.State); err != nil {
			return err
		}
	}
	_, err := m.Execute(ctx, "cont", nil)
	return err
}
