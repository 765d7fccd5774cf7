package vm

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/plan"
	"github.com/rules-qcow2/rules_qcow2/go/vm/qemu"
	"github.com/rules-qcow2/rules_qcow2/internal/bounded"
)

// maxStderr bounds the lines of QEMU's standard error in a report.
const maxStderr = 100

// readOutput reads QEMU's output and events, and returns a channel that closes
// when QEMU has ended and all have been read.
func (m *Machine) readOutput() <-chan struct{} {
	var readers sync.WaitGroup
	readAll := []func(){m.readConsole, func() { readLines(m.process.Stderr, m.stderrLine) }}
	if m.firmware != nil {
		readAll = append(readAll, m.readFirmware)
	}
	for _, read := range readAll {
		readers.Add(1)
		go func() {
			defer readers.Done()
			read()
		}()
	}
	read, gone := make(chan struct{}), make(chan struct{})
	go func() {
		readers.Wait()
		close(read)
	}()
	go func() {
		<-m.process.Exited()
		// A child of QEMU may keep the outputs open.
		for _, end := range []func(){m.process.Kill, m.process.Close} {
			select {
			case <-read:
			case <-time.After(m.options.CloseTimeout):
				end()
			}
		}
		m.closeChannels()
		<-read
		m.process.Close()
		<-m.monitor().Closed()
		close(gone)
	}()
	return gone
}

func (m *Machine) readConsole() {
	copied := bounded.Log{W: m.options.Console, Limit: maxLog}
	b := make([]byte, 64<<10)
	for {
		n, err := m.process.Stdout.Read(b)
		if n > 0 {
			m.logs.console.Write(b[:n])
			copied.Write(b[:n])
			m.console.Write(b[:n])
		}
		if err != nil {
			m.console.close()
			return
		}
	}
}

// logLine writes a line to qemu.log.
func (m *Machine) logLine(line string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Fprintln(&m.logs.qemu, line)
}

// stderrLine records a line that also belongs in reports.
func (m *Machine) stderrLine(line string) {
	m.logLine(line)
	m.mu.Lock()
	m.stderr = append(m.stderr, line)
	if len(m.stderr) > maxStderr {
		m.stderr = append(m.stderr[:0], m.stderr[1:]...)
	}
	m.mu.Unlock()
	if strings.Contains(line, "KVM internal error") || strings.Contains(line, "kvm run failed") {
		// QEMU would stay, and the guest would hang.
		m.finish(End{Failure: failure{errors.New(line), ErrHost}})
	}
}

func (m *Machine) event(event qemu.Event) {
	switch {
	case event.Name == "RESET":
		m.rebooted()
	case event.Name == "VSERPORT_CHANGE" && event.Data.ID == plan.AgentPort && !event.Data.Open:
		if link := m.agentLink(); link != nil {
			link.portClosed()
		}
	case event.Name == "SHUTDOWN":
		m.finish(End{Reason: event.Data.Reason})
	case event.Name == "BLOCK_IO_ERROR" && event.Data.Action == "stop":
		// If the host has no space left, QEMU stops the guest. Other errors
		// are reported to the guest.
		m.finish(End{Failure: failure{fmt.Errorf("the host has no space left for the guest's writes to %s: %s", event.Data.Node, event.Data.Reason), ErrHost}})
	}
}
