package vm

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	// maxLine bounds, in bytes, the part of a line that patterns see, and so
	// the work on each byte of a line that does not end.
	maxLine = 4 << 10
	// maxUnread bounds, in bytes, the lines kept for the next Expect. Each counts as
	// its length and lineCost, so that empty lines are bounded, too.
	maxUnread = 1 << 20
	lineCost  = 16 // of a string in a slice
	// tailLines is the number of lines in an error. A panic of Linux takes 25
	// lines, and the lines before it show the cause.
	tailLines = 40
)

// escapes are the control sequences of terminals: colours, cursor movements,
// titles.
var escapes = regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)|[()][A-Z0-9]|[=>78cDEHMNOZ])|[\r\x00\x07]")

// unfinishedEscape is the beginning of an escape sequence at the end of a line.
var unfinishedEscape = regexp.MustCompile("\x1b[^\x1b]{0,16}$")

// A console reads the output of the first serial port line by line. It tests a
// line as soon as a part of it arrives, because a prompt does not end.
type console struct {
	failOn []*regexp.Regexp
	failed chan struct{} // closed at the first match of failOn

	mu       sync.Mutex
	raw      []byte       // the unfinished line
	consumed int          // length of the part of that line that Expect has passed
	unread   []string     // finished lines that no Expect has passed
	skip     int          // length of the part of unread[0] that Expect has passed
	size     int          // of unread, in bytes, with lineCost for each line
	tail     []string     // the last finished lines
	expects  *expectation // the one that waits
	latest   *expectation // the one that waited last
	last     time.Time    // of the last output

	failure   *regexp.Regexp // the pattern of failOn that matched
	failLine  string         // the line that it matched
	failEnded bool           // whether failLine is complete
}

// An expectation is a sequence of patterns that an Expect waits for.
type expectation struct {
	patterns []*regexp.Regexp
	seen     int
	done     chan struct{} // closed when all have been seen
}

func newConsole(failOn []*regexp.Regexp) *console {
	return &console{failOn: failOn, failed: make(chan struct{})}
}

// Write tests more output.
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = time.Now()
	n := len(b)
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			c.raw = append(c.raw, b...)
			c.look(len(c.raw) > maxLine)
			break
		}
		c.raw = append(c.raw, b[:end]...)
		c.look(true)
		b = b[end+1:]
	}
	return n, nil
}

// close ends the last line.
func (c *console) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.raw) > 0 {
		c.look(true)
	}
}

// look tests the current line, and begins another one if it is finished.
func (c *console) look(finished bool) {
	line := clean(c.raw)
	if c.failure == nil {
		for _, pattern := range c.failOn {
			if find(pattern, line, 0, finished) != nil {
				c.failure = pattern
				close(c.failed)
				break
			}
		}
	}
	if c.failure != nil && !c.failEnded {
		c.failLine, c.failEnded = line, finished
	}
	waited := c.expects != nil
	c.consumed = c.pass(line, c.consumed, finished)
	if !finished {
		return
	}
	// An Expect has passed the line unless it ended in it.
	if !waited || c.expects == nil {
		if len(c.unread) == 0 {
			c.skip = c.consumed
		}
		c.unread = append(c.unread, line)
		for c.size += len(line) + lineCost; c.size > maxUnread && len(c.unread) > 1; c.skip = 0 {
			c.dropUnread()
		}
	}
	c.tail = append(c.tail, line)
	if len(c.tail) > tailLines {
		c.tail = append(c.tail[:0], c.tail[1:]...)
	}
	c.raw, c.consumed = c.raw[:0], 0
}

// dropUnread forgets the first unread line.
func (c *console) dropUnread() {
	c.size -= len(c.unread[0]) + lineCost
	c.unread[0] = ""
	c.unread = c.unread[1:]
}

// pass tests a line, from an offset on, for the patterns that are waited for,
// and returns the offset behind the last one that it found.
func (c *console) pass(line string, from int, finished bool) int {
	for c.expects != nil {
		match := find(c.expects.patterns[c.expects.seen], line, from, finished)
		if match == nil {
			break
		}
		from = min(match[1], len(line))
		c.expects.seen++
		if c.expects.seen == len(c.expects.patterns) {
			close(c.expects.done)
			c.expects = nil
		}
	}
	return from
}

// expect starts to wait for patterns, in lines that no earlier call has passed.
func (c *console) expect(patterns []*regexp.Regexp) *expectation {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := &expectation{patterns: patterns, done: make(chan struct{})}
	c.latest = e
	if len(patterns) == 0 {
		close(e.done)
		return e
	}
	c.expects = e
	for len(c.unread) > 0 && c.expects != nil {
		c.skip = c.pass(c.unread[0], c.skip, true)
		if c.expects != nil {
			c.dropUnread()
			c.skip = 0
		}
	}
	if c.expects != nil {
		c.consumed = c.pass(clean(c.raw), c.consumed, false)
	}
	return e
}

// cancel ends an expect and returns the number of patterns that it has seen.
func (c *console) cancel(e *expectation) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expects == e {
		c.expects = nil
	}
	return e.seen
}

// progress says how far the last Expect has come.
func (c *console) progress() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.latest
	if e == nil || e.seen == len(e.patterns) {
		return ""
	}
	return fmt.Sprintf("; %d of %d patterns seen, waiting for %q", e.seen, len(e.patterns), e.patterns[e.seen])
}

// failureLine returns the pattern of failOn that matched and the line, as much
// of it as has arrived. Both are empty if none has matched.
func (c *console) failureLine() (pattern, line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure == nil {
		return "", ""
	}
	return c.failure.String(), c.failLine
}

// lastLines returns the end of the output, or nothing if it is blank.
func (c *console) lastLines() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := append([]string(nil), c.tail...)
	if len(c.raw) > 0 {
		lines = append(lines, clean(c.raw))
	}
	if strings.TrimSpace(strings.Join(lines, "")) == "" {
		return nil // such as the end of a line from before a save
	}
	return lines
}

// lastWrite returns the time of the last output.
func (c *console) lastWrite() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// find returns the first match of a pattern in line, from an offset on.
func find(pattern *regexp.Regexp, line string, from int, finished bool) []int {
	if !finished {
		// "$" must match the end of the line, not the end of its first part.
		line += "\x00"
	}
	for _, match := range pattern.FindAllStringIndex(line, -1) {
		if match[0] >= from {
			return match
		}
	}
	return nil
}

// clean returns a line without escape sequences.
func clean(raw []byte) string {
	if !bytes.ContainsAny(raw, "\x1b\r\x00\x07") {
		return string(raw)
	}
	return string(unfinishedEscape.ReplaceAll(escapes.ReplaceAll(raw, nil), nil))
}
