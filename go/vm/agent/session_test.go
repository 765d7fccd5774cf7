package agent_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

// fake is a guest that the test writes itself.
type fake struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
	w *protocol.Writer
}

func newFake(t *testing.T) (net.Conn, *fake) {
	t.Helper()
	host, guest := pair(t)
	conn, err := net.FileConn(guest)
	if err != nil {
		t.Fatal(err)
	}
	guest.Close()
	t.Cleanup(func() { conn.Close(); host.Close() })
	return host, &fake{conn, t, bufio.NewReaderSize(conn, protocol.MaxFrame), protocol.NewWriter(conn)}
}

// answer waits for a hello and answers it.
func (f *fake) answer(version uint16) {
	hello, err := protocol.ReadHello(f.r)
	if err != nil {
		f.t.Errorf("no hello: %v", err)
		return
	}
	f.w.WriteAnswer(protocol.Answer{
		Nonce: hello.Nonce, Version: version, Name: "an agent", Info: protocol.Encode(&protocol.Info{Kernel: "fake"}),
	})
}

// noLeaks fails the test if it leaves goroutines behind.
func noLeaks(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				stacks := make([]byte, 1<<16)
				t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
				return
			}
		}
	})
}

func TestOtherVersion(t *testing.T) {
	noLeaks(t)
	host, guest := newFake(t)
	go guest.answer(99)
	_, err := agent.New(context.Background(), host)
	want := `the guest has "an agent" with protocol version 99, this program needs version 1: use an agent of the same release`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestNoAnswer(t *testing.T) {
	for name, guest := range map[string]func(*fake){
		"silent": func(f *fake) {},
		"reads":  func(f *fake) { go io.Copy(io.Discard, f) },
		"echoes": func(f *fake) { go io.Copy(f, f) },
		"floods": func(f *fake) {
			go func() {
				for b := bytes.Repeat([]byte("\xf1rq2agnt"), 1000); ; {
					if _, err := f.Write(b); err != nil {
						return
					}
				}
			}()
		},
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			defer agent.SetHelloPause(time.Millisecond)()
			host, f := newFake(t)
			guest(f)
			why := errors.New("the guest should have booted by now")
			ctx, cancel := context.WithTimeoutCause(context.Background(), 50*time.Millisecond, why)
			defer cancel()
			if _, err := agent.New(ctx, host); !errors.Is(err, why) {
				t.Errorf("got %v, want %v", err, why)
			}
			f.Close()
		})
	}
}

func TestGuestEnds(t *testing.T) {
	noLeaks(t)
	host, guest := newFake(t)
	go func() {
		guest.answer(protocol.Version)
		guest.Close()
	}()
	c, err := agent.New(context.Background(), host)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Run(context.Background(), agent.Command{Args: []string{"true"}})
	if err == nil || !strings.Contains(err.Error(), "the guest closed the connection") {
		t.Errorf("Run: %v", err)
	}
	<-c.Done()
	c.Close()
}

// Everything ends with one clear error when a guest breaks the protocol, and
// nothing is left.
func TestBrokenGuests(t *testing.T) {
	for _, test := range []struct{ name, bytes, want string }{
		{"garbage", "garbage! garbage!", "agent protocol: unknown frame type 0x67"},
		{"length", "\x02\x01\xff\xff\x00\x00\x00\x01", "frame of 65535 bytes, the longest is 32759"},
		{"result", "\x02\x00\x00\x03\x00\x00\x00\x01abc\xa5\x03\x00\x00\x00\x00\x00\x00\x01\xa5", "message ends early"},
		{"lost", "\x08\x00\x00\x03\x00\x00\x00\x00why\xa5", `the agent ended the session: "why"`},
		{"no result", "\x03\x00\x00\x00\x00\x00\x00\x01\xa5", "message ends early"},
	} {
		t.Run(test.name, func(t *testing.T) {
			noLeaks(t)
			host, guest := newFake(t)
			go func() {
				guest.answer(protocol.Version)
				io.ReadFull(guest.r, make([]byte, 10)) // OPEN
				io.WriteString(guest, test.bytes)
				io.Copy(io.Discard, guest)
			}()
			c, err := agent.New(context.Background(), host)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, err = c.Run(context.Background(), agent.Command{Args: []string{"true"}, Stdin: zeros{}, Stdout: io.Discard, Stderr: io.Discard})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// A guest that hangs cannot hold up a call whose context is done, not even in a
// write that the guest does not read.
func TestHangingGuest(t *testing.T) {
	for name, call := range map[string]func(context.Context, *agent.Client) error{
		"run": func(ctx context.Context, c *agent.Client) error {
			_, err := c.Run(ctx, agent.Command{Args: []string{"cat"}, Stdin: zeros{}, Stdout: io.Discard})
			return err
		},
		"long request": func(ctx context.Context, c *agent.Client) error {
			_, err := c.Run(ctx, agent.Command{Args: []string{strings.Repeat("x", 4_000_000)}})
			return err
		},
		"write": func(ctx context.Context, c *agent.Client) error {
			return c.WriteFile(ctx, "/f", make([]byte, 10<<20), 0o600)
		},
		"read": func(ctx context.Context, c *agent.Client) error { _, err := c.ReadFile(ctx, "/f"); return err },
		"copy": func(ctx context.Context, c *agent.Client) error {
			return c.CopyFrom(ctx, "/f", "/dev/null/x", agent.CopyOptions{})
		},
		"dial": func(ctx context.Context, c *agent.Client) error {
			_, err := c.Dial(ctx, "tcp", "127.0.0.1:1")
			return err
		},
		"poweroff": func(ctx context.Context, c *agent.Client) error { return c.PowerOff(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			host, guest := newFake(t)
			go guest.answer(protocol.Version)
			c, err := agent.New(context.Background(), host)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetGrace(20 * time.Millisecond)
			// Long enough to begin the request.
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
			defer cancel()
			err = call(ctx, c)
			if name == "copy" && err != nil {
				return // the destination may be refused before the guest is
			}
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "did not end a canceled request") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// As after a resume: the agent is in the middle of anything when another host
// begins a session. Old commands end, their bytes do not appear in the new session.
func TestAnotherSession(t *testing.T) {
	host, guest := pair(t)
	startAgent(t, guest)
	// The host goes away without a word; the guest's end stays. wire is what the
	// agent sees: one stream.
	first, second := net.Pipe()
	var old atomic.Bool
	go io.Copy(writerFunc(func(b []byte) (int, error) {
		if old.Load() {
			return 0, io.EOF
		}
		return host.Write(b)
	}), second)
	go func() {
		b := make([]byte, 1000)
		for !old.Load() {
			n, err := host.Read(b)
			if err != nil {
				return
			}
			second.Write(b[:n])
		}
	}()
	ctx, c := connectTo(t, first)
	p, err := c.Start(ctx, agent.Command{Args: []string{"sh", "-c", "yes old & yes old"}, Stdin: zeros{}, Stdout: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	// Frames are under way in both directions now, and one of them is cut.
	for range 10 {
		if _, err := c.ReadFile(ctx, "/proc/version"); err != nil {
			t.Fatal(err)
		}
	}
	old.Store(true)
	second.Close()
	<-c.Done()

	host.SetReadDeadline(time.Time{})
	ctx, c = connectTo(t, host)
	stdout, _, r := run(t, ctx, c, agent.Command{Args: []string{"echo", "new"}})
	if stdout != "new\n" || !r.Success() {
		t.Errorf("got %q, %v", stdout, r)
	}
	for {
		stdout, _, _ := run(t, ctx, c, agent.Command{Args: []string{"ps", "-eo", "pgid=,stat="}})
		if !groupRuns(stdout, p.PID()) {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("the command of the old session still runs")
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// An agent that starts again, as after a reboot, fails the session that it cannot
// know.
func TestAgentRestarts(t *testing.T) {
	host, guest := pair(t)
	dup, err := net.FileConn(guest)
	if err != nil {
		t.Fatal(err)
	}
	again, err := dup.(*net.UnixConn).File()
	if err != nil {
		t.Fatal(err)
	}
	dup.Close()
	cmd := startAgent(t, guest)
	ctx, c := connectTo(t, host)
	done := make(chan error)
	stdin, w := io.Pipe()
	defer w.Close()
	go func() {
		_, err := c.Run(ctx, agent.Command{Args: []string{"cat"}, Stdin: stdin})
		done <- err
	}()
	c.ReadFile(ctx, "/proc/version")
	cmd.Process.Kill()
	startAgent(t, again)
	if err := <-done; err == nil || !strings.Contains(err.Error(), `the agent ended the session: "the agent started"`) {
		t.Errorf("got %v", err)
	}
}

// Hellos that pile up before the agent starts are all answered; the session works.
func TestRepeatedHello(t *testing.T) {
	defer agent.SetHelloPause(time.Millisecond)()
	host, guest := pair(t)
	type started struct {
		c   *agent.Client
		err error
	}
	done := make(chan started)
	go func() {
		c, err := agent.New(context.Background(), host)
		done <- started{c, err}
	}()
	time.Sleep(20 * time.Millisecond) // let some pile up; any number must work
	startAgent(t, guest)
	s := <-done
	if s.err != nil {
		t.Fatal(s.err)
	}
	defer s.c.Close()
	for range 20 {
		if _, err := s.c.ReadFile(context.Background(), "/proc/version"); err != nil {
			t.Fatal(err)
		}
	}
}

// A channel that loses the first hello, as a serial line may.
func TestLostHello(t *testing.T) {
	defer agent.SetHelloPause(time.Millisecond)()
	host, guest := newFake(t)
	go func() {
		if _, err := protocol.ReadHello(guest.r); err != nil {
			t.Error(err)
		}
		guest.answer(protocol.Version)
		io.Copy(io.Discard, guest)
	}()
	c, err := agent.New(context.Background(), host)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// 1 GB on each stream: the host has all of it, in bounded memory on both sides.
func TestFlood(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 2 GB")
	}
	noLeaks(t)
	host, guest := pair(t)
	cmd := startAgent(t, guest)
	ctx, c := connectTo(t, host)
	const size = 1 << 30
	debug.FreeOSMemory()
	before := heap()
	var stdout, stderr counter
	// The writers block at first. The agent serves other requests.
	gate := make(chan struct{})
	stdout.gate, stderr.gate = gate, gate
	p, err := c.Start(ctx, agent.Command{
		Args:   []string{"sh", "-c", fmt.Sprintf("head -c %d /dev/zero & head -c %d /dev/zero >&2; wait", size, size)},
		Stdout: &stdout, Stderr: &stderr,
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := c.ReadFile(ctx, "/proc/version"); err != nil {
			t.Fatal(err)
		}
	}
	close(gate)
	if r, err := p.Wait(); err != nil || !r.Success() {
		t.Fatal(r, err)
	}
	if stdout.n != size || stderr.n != size {
		t.Errorf("got %d and %d bytes, want %d each", stdout.n, stderr.n, size)
	}
	if peak, limit := max(stdout.heap, stderr.heap)-before, int64(8<<20); peak > limit {
		t.Errorf("the host's side took up to %d bytes, want at most %d", peak, limit)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var peak int
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "VmHWM: %d kB", &peak)
	}
	if peak == 0 || peak > 32<<10 {
		t.Errorf("the agent took up to %d KiB, want at most 32 MiB", peak)
	}
	c.Close()
}

// counter counts bytes, and looks at the memory of this process on the way.
type counter struct {
	gate chan struct{}
	n    int64
	heap int64
}

func (c *counter) Write(b []byte) (int, error) {
	<-c.gate
	if c.n>>25 != (c.n+int64(len(b)))>>25 {
		c.heap = max(c.heap, heap())
	}
	c.n += int64(len(b))
	return len(b), nil
}

func heap() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}
