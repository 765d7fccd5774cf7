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
)

// logs are the files that a machine leaves for the reader of a failure.
type logs struct {
	console io.WriteCloser // console.log: raw output of the first serial port
	qemu    io.WriteCloser // qemu.log: QEMU's standard error
}

// open creates the logs in dir, and command, the script that runs the machine
// again. Without dir it writes none.
func (l *logs) open(dir, command string) error {
	l.console, l.qemu = discard{}, discard{}
	if dir == "" {
		return nil
	}
	if err := os.WriteFile(filepath.Join(dir, "command"), []byte(command), 0o666); err != nil {
		return err
	}
	console, err := os.Create(filepath.Join(dir, "console.log"))
	if err != nil {
		return err
	}
	l.console = console
	qemu, err := os.Create(filepath.Join(dir, "qemu.log"))
	if err != nil {
		console.Close()
		return err
	}
	l.qemu = qemu
	return nil
}

func (l *logs) close() {
	l.console.Close()
	l.qemu.Close()
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) Close() error                { return nil }

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

// Report adds to an error what a reader needs to understand it: the time, the
// accelerator, QEMU's messages and the end of the console. An error that has a report
// stays as it is.
func (m *Machine) Report(err error) error {
	if reported := (*reportError)(nil); errors.As(err, &reported) {
		return err
	}
	m.mu.Lock()
	stderr, screenshotError := append([]string(nil), m.stderr...), m.screenshotError
	m.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "  after %.1f s under %s", time.Since(m.started).Seconds(), m.accelerator)
	b.WriteString(m.console.progress() + "\n")
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
		if len(line) > maxLineLength {
			line = line[:maxLineLength] + "…"
		}
		fmt.Fprintf(b, "  | %s\n", strings.ToValidUTF8(line, "\uFFFD"))
	}
}
