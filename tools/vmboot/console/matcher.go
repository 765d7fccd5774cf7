// Package console reads what a guest writes to its console.
package console

import (
	"bytes"
	"regexp"
)

const (
	// maxLine bounds, in bytes, what is looked at as one line, and with that
	// the work on each byte of one that does not end.
	maxLine = 4 << 10
	// tailLines is how many lines a Matcher remembers: a panic of Linux takes
	// some 25, and what comes before says why.
	tailLines = 40
)

// escapes are the control sequences of terminals: colours, cursor movements,
// titles.
var escapes = regexp.MustCompile("\x1b(?:\\[[0-9;?=>]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)|[()][A-Z0-9]|[=>78cDEHMNOZ])|[\r\x00\x07]")

// unfinishedEscape is the beginning of one at the end of a line.
var unfinishedEscape = regexp.MustCompile("\x1b[^\x1b]{0,16}$")

// A Matcher is an io.Writer that looks for patterns, line by line: some have to
// come, in order, others must not. A line is looked at as soon as a part of it
// is there, as a prompt has no end. Escape sequences are left out.
type Matcher struct {
	expect []*regexp.Regexp
	failOn []*regexp.Regexp

	seen     int    // of expect
	raw      []byte // of the line that is not finished
	consumed int    // of that line, by the patterns that were seen
	tail     []string

	failure   *regexp.Regexp
	failLine  string
	failEnded bool
}

// NewMatcher returns a Matcher of patterns that are known to be valid.
func NewMatcher(expect, failOn []string) *Matcher {
	m := &Matcher{}
	for _, pattern := range expect {
		m.expect = append(m.expect, regexp.MustCompile(pattern))
	}
	for _, pattern := range failOn {
		m.failOn = append(m.failOn, regexp.MustCompile(pattern))
	}
	return m
}

// Write looks at more of the console.
func (m *Matcher) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			m.raw = append(m.raw, b...)
			m.look(len(m.raw) > maxLine)
			break
		}
		m.raw = append(m.raw, b[:end]...)
		m.look(true)
		b = b[end+1:]
	}
	return n, nil
}

// Close ends the last line.
func (m *Matcher) Close() error {
	if len(m.raw) > 0 {
		m.look(true)
	}
	return nil
}

// Complete reports whether all patterns have come.
func (m *Matcher) Complete() bool { return m.seen == len(m.expect) }

// Seen returns how many patterns have come.
func (m *Matcher) Seen() int { return m.seen }

// Next returns the pattern that is waited for, "" if there is none.
func (m *Matcher) Next() string {
	if m.Complete() {
		return ""
	}
	return m.expect[m.seen].String()
}

// Failure returns the pattern that must not come and the line it came in, as
// far as that is there; empty if none came.
func (m *Matcher) Failure() (pattern, line string) {
	if m.failure == nil {
		return "", ""
	}
	return m.failure.String(), m.failLine
}

// Tail returns the last lines.
func (m *Matcher) Tail() []string {
	lines := m.tail
	if len(m.raw) > 0 {
		lines = append(lines[:len(lines):len(lines)], clean(m.raw))
	}
	return lines
}

// look matches the current line, and begins another one if it is finished.
func (m *Matcher) look(finished bool) {
	line := clean(m.raw)
	if m.failure == nil {
		for _, pattern := range m.failOn {
			if find(pattern, line, 0, finished) != nil {
				m.failure = pattern
				break
			}
		}
	}
	if m.failure != nil && !m.failEnded {
		m.failLine, m.failEnded = line, finished
	}
	for !m.Complete() {
		match := find(m.expect[m.seen], line, m.consumed, finished)
		if match == nil {
			break
		}
		m.seen++
		m.consumed = min(match[1], len(line))
	}
	if !finished {
		return
	}
	m.tail = append(m.tail, line)
	if len(m.tail) > tailLines {
		m.tail = append(m.tail[:0], m.tail[1:]...)
	}
	m.raw, m.consumed = m.raw[:0], 0
}

// find returns where a pattern first matches in line, from a position on.
func find(pattern *regexp.Regexp, line string, from int, finished bool) []int {
	if !finished {
		// So that "$" is the end of a line, not that of what there is of it.
		line += "\x00"
	}
	for _, match := range pattern.FindAllStringIndex(line, -1) {
		if match[0] >= from {
			return match
		}
	}
	return nil
}

func clean(raw []byte) string {
	if !bytes.ContainsAny(raw, "\x1b\r\x00\x07") {
		return string(raw)
	}
	return string(unfinishedEscape.ReplaceAll(escapes.ReplaceAll(raw, nil), nil))
}
