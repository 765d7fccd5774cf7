package qmp_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/qmp"
)

// serve answers each command with what answer says.
func serve(t *testing.T, answer func(command string, n int) string) *qmp.Client {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	go func() {
		fmt.Fprintln(theirs, `{"QMP": {"version": {}, "capabilities": []}}`)
		b := make([]byte, 4096)
		for n := 1; ; n++ {
			length, err := bufio.NewReader(theirs).Read(b)
			if err != nil {
				return
			}
			fmt.Fprintln(theirs, answer(string(b[:length]), n))
		}
	}()
	return qmp.New(ours)
}

func TestExecute(t *testing.T) {
	c := serve(t, func(command string, n int) string {
		if n == 1 {
			return fmt.Sprintf(`{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}} {"return": {}, "id": %d}`, n)
		}
		return fmt.Sprintf(`{"error": {"class": "GenericError", "desc": "no such file"}, "id": %d}`, n)
	})
	if _, err := c.Execute("qmp_capabilities", nil, time.Minute); err != nil {
		t.Error(err)
	}
	event := <-c.Events
	if event.Name != "SHUTDOWN" || !event.Data.Guest || event.Data.Reason != "guest-reset" {
		t.Errorf("the event is %+v", event)
	}
	_, err := c.Execute("screendump", map[string]any{"filename": "x"}, time.Minute)
	if err == nil || !strings.Contains(err.Error(), "QMP screendump: no such file") {
		t.Errorf("the error is %v", err)
	}
}

func TestExecuteWithoutAnAnswer(t *testing.T) {
	c := serve(t, func(command string, n int) string {
		if n == 1 {
			return ""
		}
		// The first one's comes after all.
		return `{"return": 1, "id": 1} {"return": 2, "id": 2}`
	})
	if _, err := c.Execute("stop", nil, 10*time.Millisecond); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("the error is %v", err)
	}
	if answer, err := c.Execute("cont", nil, time.Minute); err != nil || string(answer) != "2" {
		t.Errorf("the answer is %s, %v", answer, err)
	}
}
