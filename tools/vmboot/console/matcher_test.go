package console_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/console"
)

func TestExpect(t *testing.T) {
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
		{"title of a terminal", []string{"^root#"}, "\x1b]0;root@vm\x07root# ", 1},
		{"carriage returns", []string{"^100%$"}, "\r100%\r\r\n", 1},
		{"not UTF-8", []string{"a.b"}, "a\xffb\n", 1},
		{"long line", []string{"end$"}, strings.Repeat("x", 10000) + "end\n", 1},
	} {
		// However the bytes come.
		for _, chunk := range []int{1, 3, len(test.console)} {
			t.Run(fmt.Sprint(test.name, " by ", chunk), func(t *testing.T) {
				m := console.NewMatcher(test.expect, nil)
				for rest := test.console; rest != ""; rest = rest[min(chunk, len(rest)):] {
					m.Write([]byte(rest[:min(chunk, len(rest))]))
				}
				if m.Seen() != test.seen {
					t.Errorf("%d patterns are seen, want %d", m.Seen(), test.seen)
				}
				if complete := test.seen == len(test.expect); m.Complete() != complete || (m.Next() == "") != complete {
					t.Errorf("Complete is %v, Next %q", m.Complete(), m.Next())
				}
			})
		}
	}
}

func TestFailure(t *testing.T) {
	m := console.NewMatcher([]string{"never"}, []string{"other", "panic"})
	m.Write([]byte("fine\n[ 1.0] Kernel panic - not"))
	if pattern, line := m.Failure(); pattern != "panic" || line != "[ 1.0] Kernel panic - not" {
		t.Errorf("Failure is %q in %q", pattern, line)
	}
	m.Write([]byte(" syncing: no init\n[ 1.1] panic again\n"))
	if pattern, line := m.Failure(); pattern != "panic" || line != "[ 1.0] Kernel panic - not syncing: no init" {
		t.Errorf("Failure is %q in %q", pattern, line)
	}
}

func TestTailIsBounded(t *testing.T) {
	m := console.NewMatcher(nil, nil)
	for i := range 1000 {
		fmt.Fprintf(m, "line %d\n", i)
	}
	m.Write([]byte("the last one"))
	tail := m.Tail()
	if len(tail) != 41 || tail[0] != "line 960" || tail[40] != "the last one" {
		t.Errorf("Tail has %d lines, %q to %q", len(tail), tail[0], tail[len(tail)-1])
	}
}
