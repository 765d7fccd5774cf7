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

// Report adds to an error what a reader needs to understand it: the time, the
// accelerator, QEMU's messages and the end of the console.
func (m *Machine) Report(err error) error {
	m.mu.Lock()
	stderr, screenshotError := append([]string(nil), m.stderr...), m.screenshotError
	m.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%v\n", err)
	fmt.Fprintf(&b, "  after %.1f s under %s", time.Since(m.started).Seconds(), m.accelerator)
	b.WriteString(m.console.progress() + "\n")
	if len(stderr) > 0 {
		b.WriteString("  QEMU's messages (qemu.log):\n")
		writeLines(&b, stderr)
	}
	if tail := m.console.lastLines(); len(tail) > 0 {
		b.WriteString("  last lines of the console (all are in console.log):\n")
		writeLines(&b, tail)
	} else {
		b.WriteString("  the console is empty\n")
	}
	if screenshotError != nil {
		fmt.Fprintf(&b, "  no screenshot: %v\n", screenshotError)
	}
	return errors.New(strings.TrimRight(b.String(), "\n"))
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
