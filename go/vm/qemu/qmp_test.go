package qemu

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// serveQMP answers the nth command with the result of answer.
func serveQMP(t *testing.T, answer func(n int) string) (*Monitor, chan Event) {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	go func() {
		fmt.Fprintln(theirs, `{"QMP": {"version": {}, "capabilities": []}}`)
		b := make([]byte, 4096)
		for n := 1; ; n++ {
			if _, err := bufio.NewReader(theirs).Read(b); err != nil {
				return
			}
			fmt.Fprintln(theirs, answer(n))
		}
	}()
	events := make(chan Event, 1)
	return newMonitor(ours, func(e Event) { events <- e }), events
}

func TestQMPExecute(t *testing.T) {
	c, events := serveQMP(t, func(n int) string {
		if n == 1 {
			return fmt.Sprintf(`{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}} {"return": {}, "id": %d}`, n)
		}
		return fmt.Sprintf(`{"error": {"class": "GenericError", "desc": "no such file"}, "id": %d}`, n)
	})
	if _, err := c.Execute(context.Background(), "qmp_capabilities", nil); err != nil {
		t.Error(err)
	}
	event := <-events
	if event.Name != "SHUTDOWN" || !event.Data.Guest || event.Data.Reason != "guest-reset" {
		t.Errorf("got event %+v", event)
	}
	_, err := c.Execute(context.Background(), "screendump", map[string]any{"filename": "x"})
	if err == nil || !strings.Contains(err.Error(), "QMP screendump: no such file") {
		t.Errorf("got error %v", err)
	}
}

func TestQMPExecuteWithoutAnAnswer(t *testing.T) {
	c, _ := serveQMP(t, func(n int) string {
		if n == 1 {
			return ""
		}
		// The answer to the first command comes late.
		return `{"return": 1, "id": 1} {"return": 2, "id": 2}`
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := c.Execute(ctx, "stop", nil); err == nil || !strings.Contains(err.Error(), "QEMU did not answer") {
		t.Errorf("got error %v", err)
	}
	if answer, err := c.Execute(context.Background(), "cont", nil); err != nil || string(answer) != "2" {
		t.Errorf("got answer %s, %v, want 2", answer, err)
	}
}

// Messages up to the limit are answers, however many come. A longer one ends the
// connection.
func TestQMPLongMessage(t *testing.T) {
	message := func(n, size int) string {
		begin, end := fmt.Sprintf(`{"id": %d, "return": "`, n), `"}`
		return begin + strings.Repeat("x", size-len(begin)-len(end)) + end
	}
	const short = 3
	c, _ := serveQMP(t, func(n int) string {
		if n <= short {
			return message(n, maxMessage*3/4)
		}
		return message(n, maxMessage+1<<20)
	})
	for range short {
		if answer, err := c.Execute(t.Context(), "query", nil); err != nil || len(answer) < maxMessage/2 {
			t.Fatalf("got %d bytes, %v", len(answer), err)
		}
	}
	_, err := c.Execute(t.Context(), "query", nil)
	if want := "QMP query: QEMU sent a QMP message of more than 16 MiB"; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %q", err, want)
	}
}

// An answer counts, even if the connection is closed when it is read.
func TestQMPAnswerBeforeTheEnd(t *testing.T) {
	for range 1000 {
		c := &Monitor{closed: make(chan struct{})}
		answers := make(chan response, 1)
		answers <- response{}
		close(c.closed)
		if _, err := c.await(context.Background(), "quit", answers); err != nil {
			t.Fatal(err)
		}
	}
}
