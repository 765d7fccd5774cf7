package vm

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rules-qcow2/rules_qcow2/internal/bounded"
)

// logs are the files that a machine leaves for the reader of a failure.
type logs struct {
	console  bounded.Log // console.log: raw output of the first serial port
	qemu     bounded.Log // qemu.log: QEMU's standard error
	firmware bounded.Log // firmware.log: SeaBIOS's messages while it boots a disk
	files    []*os.File
}

// open creates the logs in dir, and command, the script that runs the machine
// again. Without dir it writes none. Logs that continue are appended to.
func (l *logs) open(dir, command string, continues, firmware bool) error {
	if dir == "" {
		return nil
	}
	if err := os.WriteFile(filepath.Join(dir, "command"), []byte(command), 0o666); err != nil {
		return err
	}
	logs := map[string]*bounded.Log{"console.log": &l.console, "qemu.log": &l.qemu}
	if firmware {
		logs["firmware.log"] = &l.firmware
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	if continues {
		flags = os.O_CREATE | os.O_WRONLY | os.O_APPEND
	}
	for name, log := range logs {
		file, err := os.OpenFile(filepath.Join(dir, name), flags, 0o666)
		if err != nil {
			l.close()
			return err
		}
		log.W, log.Limit = file, maxLog
		l.files = append(l.files, file)
	}
	return nil
}

func (l *logs) close() {
	for _, file := range l.files {
		file.Close()
	}
}

// maxLog is the largest size of a log, in bytes.
const maxLog = 64 << 20

// maxLogLine bounds, in bytes, a line of QEMU's standard error. A longer one
// counts as several.
const maxLogLine = 64 << 10

// readLines calls visit for each line.
func readLines(r io.Reader, visit func(line string)) {
	lines := bufio.NewReaderSize(r, maxLogLine)
	for {
		line, _, err := lines.ReadLine()
		if err != nil {
			return
		}
		visit(string(line))
	}
}

// A reportError is an error with a report.
type reportError struct {
	error  // without the report
	report string
}

func (e *reportError) Error() string { return e.error.Error() + "\n" + e.report }
func (e *reportError) Unwrap() error { return e.error }

// Report adds to an error what a reader needs to understand it: who failed, the time,
// the accelerator, QEMU's messages and the end of the console. An error that has a report
// stays as it is.
func (m *Machine) Report(err error) error {
	if reported := (*reportError)(nil); errors.As(err, &reported) {
		return err
	}
	m.mu.Lock()
	stderr, screenshotError, failedUnits := append([]string(nil), m.stderr...), m.screenshotError, m.failedUnits
	m.mu.Unlock()
	var b strings.Builder
	b.WriteString("  ")
	if who := who(err); who != "" {
		b.WriteString(who + ", ")
	}
	fmt.Fprintf(&b, "after %.1f s under %s", time.Since(m.started).Seconds(), m.Accelerator())
	b.WriteString(m.console.progress() + "\n")
	for _, hint := range m.hints() {
		fmt.Fprintf(&b, "  %s\n", hint)
	}
	if len(failedUnits) > 0 {
		fmt.Fprintf(&b, "  failed units in the guest%s: %q\n", m.inLog(" (their messages are in journal.log)"), failedUnits)
	}
	if len(stderr) > 0 {
		fmt.Fprintf(&b, "  QEMU's messages%s:\n", m.inLog(" (qemu.log)"))
		writeLines(&b, stderr)
	}
	if tail := m.console.lastLines(); len(tail) > 0 {
		fmt.Fprintf(&b, "  last lines of the console%s:\n", m.inLog(" (all are in console.log)"))
		writeLines(&b, tail)
	} else {
		b.WriteString("  the console is empty\n")
	}
	if screenshotError != nil {
		fmt.Fprintf(&b, "  no screenshot: %v\n", screenshotError)
	}
	return &reportError{err, strings.TrimRight(b.String(), "\n")}
}

// inLog returns text, which names a log, if the machine has logs.
func (m *Machine) inLog(text string) string {
	if m.options.Logs == "" {
		return ""
	}
	return text
}

const (
	maxLines      = 41
	maxLineLength = 300 // in bytes
)

func writeLines(b *strings.Builder, lines []string) {
	if len(lines) > maxLines {
		lines = lines[len(lines)-maxLines:]
	}
	for _, line := range lines {
		fmt.Fprintf(b, "  | %s\n", strings.ToValidUTF8(short(line), "\uFFFD"))
	}
}

// short cuts off a long line.
func short(line string) string {
	if len(line) > maxLineLength {
		return line[:maxLineLength] + "…"
	}
	return line
}
