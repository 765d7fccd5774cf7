package vm

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

func mustCompile(patterns ...string) []*regexp.Regexp {
	var compiled []*regexp.Regexp
	for _, pattern := range patterns {
		compiled = append(compiled, regexp.MustCompile(pattern))
	}
	return compiled
}

// seen returns how many patterns an expectation has seen.
func seen(c *console, e *expectation) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return e.seen
}

func TestConsoleExpect(t *testing.T) {
	for _, test := range []struct {
		name    string
		expect  []string
		console string
		seen    int
	}{
		{"in order", []string{"a", "b"}, "a\nb\n", 2},
		{"out of order", []string{"a", "b"}, "b\na\n", 1},
		{"twice in one line", []string{"a", "a"}, "a a\n", 2},
		{"once for two", []string{"a", "a"}, "a\n", 1},
		{"overlapping", []string{"aba", "ba"}, "aba\n", 1},
		{"prompt without an end", []string{"login: "}, "host login: ", 1},
		{"end of a finished line", []string{"ready$"}, "ready\r\n", 1},
		{"end of an unfinished line", []string{"ready$"}, "ready", 0},
		{"end of another line", []string{"ready$"}, "ready to go\n", 0},
		{"beginning of a line", []string{"^ready"}, "ready\n", 1},
		{"not the beginning of a line", []string{"a", "^b"}, "ab\n", 1},
		{"not across lines", []string{"(?s)a.b"}, "a\nb\n", 0},
		{"escape sequences", []string{"^\\[  OK  \\] Started$"}, "\x1b[0m[\x1b[0;32m  OK  \x1b[0m] Started\r\n", 1},
		{"reset of a terminal", []string{"^login: "}, "\x1b[!p\x1b[?7hlogin: ", 1},
		{"title of a terminal", []string{"^root#"}, "\x1b]0;root@vm\x07root# ", 1},
		{"carriage returns", []string{"^100%$"}, "\r100%\r\r\n", 1},
		{"not UTF-8", []string{"a.b"}, "a\xffb\n", 1},
		{"long line", []string{"end$"}, strings.Repeat("x", 10000) + "end\n", 1},
	} {
		// However the bytes arrive, and whether Expect comes before or after
		// them.
		for _, chunk := range []int{1, 3, len(test.console)} {
			for _, late := range []bool{false, true} {
				if late && test.name == "end of an unfinished line" {
					continue
				}
				t.Run(fmt.Sprint(test.name, " by ", chunk, " late ", late), func(t *testing.T) {
					c := newConsole(nil)
					var e *expectation
					if !late {
						e = c.expect(mustCompile(test.expect...))
					}
					for rest := test.console; rest != ""; rest = rest[min(chunk, len(rest)):] {
						c.Write([]byte(rest[:min(chunk, len(rest))]))
					}
					if late {
						e = c.expect(mustCompile(test.expect...))
					}
					if got := seen(c, e); got != test.seen {
						t.Errorf("got %d patterns, want %d", got, test.seen)
					}
					select {
					case <-e.done:
						if test.seen < len(test.expect) {
							t.Error("the expectation is done")
						}
					default:
						if test.seen == len(test.expect) {
							t.Error("the expectation is not done")
						}
					}
				})
			}
		}
	}
}

// A call sees only the text after the last match of the call before.
func TestConsoleExpectTwice(t *testing.T) {
	for _, test := range []struct {
		first, second string
		console       string
		want          bool
	}{
		{"a", "b", "x a b\n", true},
		{"b", "a", "a b\n", false},
		{"a", "a", "a\n", false},
		{"a", "a", "a\nx\na\n", true},
		{"login: ", "login: ", "login: ", false},
		{"login: ", "password: ", "login: root\npassword: ", true},
		{"^a", "^b", "a\nb\n", true},
	} {
		for early := range 3 {
			t.Run(fmt.Sprintf("%s %s %q %d", test.first, test.second, test.console, early), func(t *testing.T) {
				c := newConsole(nil)
				if early == 0 {
					c.Write([]byte(test.console))
				}
				first := c.expect(mustCompile(test.first))
				if early == 1 {
					c.Write([]byte(test.console))
				}
				if early == 2 {
					for i := range test.console {
						c.Write([]byte(test.console[i : i+1]))
					}
				}
				if seen(c, first) != 1 {
					t.Fatalf("%q did not match", test.first)
				}
				second := c.expect(mustCompile(test.second))
				if got := seen(c, second) == 1; got != test.want {
					t.Errorf("%q matched: %v, want %v", test.second, got, test.want)
				}
			})
		}
	}
}

func TestConsoleUnreadIsBounded(t *testing.T) {
	c := newConsole(nil)
	c.Write([]byte("first\n"))
	line := []byte(strings.Repeat("x", 1000) + "\n")
	for range 5000 {
		c.Write(line)
	}
	if c.size > maxUnread || len(c.unread) < 1000 {
		t.Errorf("%d lines of %d bytes are kept, want at most %d bytes", len(c.unread), c.size, maxUnread)
	}
	if e := c.expect(mustCompile("first")); seen(c, e) != 0 {
		t.Error("the first line is kept")
	}
	c.Write([]byte("last\n"))
	if c.size != 0 || len(c.unread) != 0 {
		t.Errorf("%d lines of %d bytes are kept, want none while an Expect waits", len(c.unread), c.size)
	}
}

func TestConsoleFailure(t *testing.T) {
	c := newConsole(mustCompile("other", "panic"))
	c.Write([]byte("fine\n[ 1.0] Kernel panic - not"))
	if pattern, line := c.failureLine(); pattern != "panic" || line != "[ 1.0] Kernel panic - not" {
		t.Errorf("got pattern %q in %q", pattern, line)
	}
	c.Write([]byte(" syncing: no init\n[ 1.1] panic again\n"))
	if pattern, line := c.failureLine(); pattern != "panic" || line != "[ 1.0] Kernel panic - not syncing: no init" {
		t.Errorf("got pattern %q in %q", pattern, line)
	}
}

func TestConsoleTailIsBounded(t *testing.T) {
	c := newConsole(nil)
	for i := range 1000 {
		fmt.Fprintf(c, "line %d\n", i)
	}
	c.Write([]byte("the last one"))
	tail := c.lastLines()
	if len(tail) != 41 || tail[0] != "line 960" || tail[40] != "the last one" {
		t.Errorf("got %d lines, %q to %q", len(tail), tail[0], tail[len(tail)-1])
	}
}

// A guest that floods its console uses a bounded part of the host's memory.
func TestConsoleFlood(t *testing.T) {
	for name, line := range map[string]string{
		"empty lines": "\r\n",
		"short lines": "x\n",
		"long lines":  strings.Repeat("x", 2*maxLine) + "\n",
		"no lines":    "x",
	} {
		t.Run(name, func(t *testing.T) {
			c := newConsole(mustCompile(DefaultFailOn...))
			block := []byte(strings.Repeat(line, (64<<10)/len(line)))
			before := heap()
			for written := 0; written < 2<<20; written += len(block) {
				c.Write(block)
			}
			if used := int64(heap()) - int64(before); used > 8*maxUnread {
				t.Errorf("2 MiB on the console take %d bytes of memory", used)
			}
			runtime.KeepAlive(c)
		})
	}
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// A log ends after its limit, with a line that says so.
func TestLogIsBounded(t *testing.T) {
	var logs logs
	dir := t.TempDir()
	if err := logs.open(dir, "", false, false); err != nil {
		t.Fatal(err)
	}
	block := bytes.Repeat([]byte("x"), 1<<20-1)
	for range maxLog>>20 + 10 {
		logs.console.Write(block)
	}
	logs.close()
	content, err := os.ReadFile(filepath.Join(dir, "console.log"))
	const end = "\n[the rest is missing: a log ends after 64 MiB]\n"
	if err != nil || len(content) != maxLog+len(end) || !bytes.HasSuffix(content, []byte(end)) {
		t.Errorf("the log has %d bytes, %v; want %d, with the end %q", len(content), err, maxLog+len(end), end)
	}
}
