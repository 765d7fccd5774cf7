package vm

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
	"github.com/rules-qcow2/rules_qcow2/internal/bounded"
)

// guestLogs are what a reader of a failure looks at first in a guest, by the name of the
// file in Options.Logs. Each is a line for the guest's shell.
var guestLogs = []struct{ name, line string }{
	{failedUnits, "systemctl list-units --failed --plain --no-legend --no-pager"},
	{"journal.log", "journalctl --boot --no-pager --lines=2000"},
	{"dmesg.log", "dmesg | tail -n 2000"},
}

const (
	failedUnits = "failed-units.log"
	// maxGuestLog bounds, in bytes, each of these files.
	maxGuestLog = 1 << 20
	// maxUnits bounds the failed units in a report.
	maxUnits = 10
)

// CollectLogs asks the guest for what a reader of a failure looks at first. The files
// failed-units.log, journal.log and dmesg.log in Options.Logs have it, without those
// for which the guest lacks a program, and Report names the failed units. It takes
// Options.CloseTimeout at most, and no time if the machine has no agent that answers.
func (m *Machine) CollectLogs() {
	if !m.agentAnswered() {
		return
	}
	client := m.agentLink().client
	if client.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.options.CloseTimeout)
	defer cancel()
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		var all sync.WaitGroup
		for _, log := range guestLogs {
			all.Add(1)
			go func() {
				defer all.Done()
				m.collectLog(ctx, client, log.name, log.line)
			}()
		}
		all.Wait()
	}()
	select {
	case <-collected:
	case <-ctx.Done():
		// A guest that hangs would take some time more to end the commands.
	}
}

// collectLog keeps the output of a line for the guest's shell, if there is one.
func (m *Machine) collectLog(ctx context.Context, client *agent.Client, name, line string) {
	if name != failedUnits && m.options.Logs == "" {
		return
	}
	output := &bounded.Buffer{Limit: maxGuestLog}
	client.Run(ctx, Command{Args: []string{"/bin/sh", "-c", line}, Stdout: output})
	if output.Len() == 0 {
		return
	}
	if name == failedUnits {
		var units []string
		for line := range strings.Lines(output.String()) {
			if fields := strings.Fields(line); len(fields) > 0 && len(units) < maxUnits {
				units = append(units, short(fields[0]))
			}
		}
		m.mu.Lock()
		m.failedUnits = units
		m.mu.Unlock()
	}
	if m.options.Logs != "" {
		os.WriteFile(filepath.Join(m.options.Logs, name), output.Bytes(), 0o666)
	}
}
