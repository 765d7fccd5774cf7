package vm

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sort"
	"syscall"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
)

// startTimeout limits QEMU's own start on a terminal.
const startTimeout = time.Minute

// Interact runs a machine on this process's terminal until it ends or the user
// leaves it, with further arguments for QEMU. Before the guest starts, it
// writes to messages how to leave and which ports are forwarded. The machine
// writes to dir, as Options.Dir says.
func Interact(c *Config, dir string, args []string, messages io.Writer) error {
	c, mismatch, err := c.resolve()
	if err != nil {
		return err
	}
	if mismatch != nil {
		fmt.Fprintf(messages, "%s: the machine boots and does not resume: %v\n", c.Target, mismatch)
	}
	accelerator, err := thisHost().choose(c.Accel, c.Arch)
	if err != nil {
		return err
	}
	p, err := prepare(c, &Options{Dir: dir})
	if err != nil {
		return err
	}
	if p.copiedRAM {
		fmt.Fprintf(messages, "%s: %s\n", c.Target, copiedRAM(c.Snapshot.fingerprint.QEMU))
	}
	if c.Snapshot != nil && c.Snapshot.fingerprint.Agent {
		if err := p.addAgent(c); err != nil {
			return err
		}
	}
	given, err := c.args(accelerator, p)
	if err != nil {
		return err
	}
	all := arguments(append(append(append(given, interactive...), qmpArgs...), "-S"))
	var link *agentLink
	var files []*os.File
	if s := c.Snapshot; s != nil {
		all.add("-incoming", "defer")
		if s.fingerprint.Agent {
			var theirs *os.File
			if link, theirs, err = newAgentLink(); err != nil {
				return err
			}
			defer link.conn.Close()
			defer theirs.Close()
			c.addAgent(&all, fmt.Sprintf("socket,id=agent,fd=%d", firstFD))
			files = append(files, theirs)
		}
		for i, card := range s.fingerprint.Cards {
			c.addLink(&all, i, 0, card.MAC)
		}
	}
	all.add(args...)
	fmt.Fprintf(messages, "%s: runs under %s; Ctrl-A X leaves, Ctrl-A H lists other keys\n", c.Target, accelerator)
	if link != nil {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), c.TimeLimit(startTimeout))
			defer cancel()
			client, err := agent.New(ctx, link.conn)
			if err == nil {
				err = refresh(ctx, client)
			}
			if line := c.Snapshot.AfterResume; err == nil && line != "" {
				err = runAfterResume(ctx, client, line)
			}
			if err != nil {
				fmt.Fprintf(messages, "%s: %v\n", c.Target, err)
			}
		}()
	}
	return foreground(c, all, append(os.Environ(), "TMPDIR="+dir), files, messages)
}

// foreground runs QEMU on our terminal and restores the terminal's settings
// afterwards. Signals from the terminal are for the guest; other signals to
// this process end QEMU.
func foreground(c *Config, args, env []string, files []*os.File, messages io.Writer) error {
	defer takeTerminal(os.Stdin)()
	defer saveTerminal(os.Stdin)()

	conn, theirs, err := socketPair(syscall.SOCK_STREAM)
	if err != nil {
		return err
	}
	defer conn.Close()
	cmd := exec.Command(c.QEMU, args...)
	cmd.Env = env
	cmd.ExtraFiles = append([]*os.File{theirs}, files...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = ChildAttributes()
	// Only the foreground process group may read from a terminal.
	cmd.SysProcAttr.Setpgid = false
	// Received and dropped: QEMU would inherit the decision to ignore them.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGQUIT)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP)
	wait, err := Spawn(cmd)
	theirs.Close()
	if err != nil {
		return fmt.Errorf("QEMU did not start: %w", err)
	}
	go func() {
		for signal := range signals {
			cmd.Process.Signal(signal)
		}
	}()
	started := startForeground(c, newQMP(conn, func(qmpEvent) {}), messages)
	if started != nil {
		cmd.Process.Signal(syscall.SIGTERM)
	}
	if err := wait(); err != nil {
		return fmt.Errorf("QEMU ended with %w", err)
	}
	return started
}

// startForeground says which ports are forwarded, and lets the guest run.
func startForeground(c *Config, qmp *qmpClient, messages io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), c.TimeLimit(startTimeout), &TimeError{fmt.Sprintf("the start took %v", c.TimeLimit(startTimeout))})
	defer cancel()
	if _, err := qmp.execute(ctx, "qmp_capabilities", nil); err != nil {
		return err
	}
	ports, err := forwardedPorts(ctx, qmp, c)
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
	if c.Snapshot != nil {
		if err := qmp.loadState(ctx, c.Snapshot.State); err != nil {
			return err
		}
	}
	_, err = qmp.execute(ctx, "cont", nil)
	return err
}
