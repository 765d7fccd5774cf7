package protocol

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

var nonce = Nonce{1, 2, 3, 15: 16}

// sessions returns both sides of a session over a pipe. Each serves until the test
// ends or it fails; the errors are the reasons.
func sessions(t *testing.T, handle func(*Request)) (host *Session, wire *counter, hostErr, agentErr chan error) {
	t.Helper()
	h, a := net.Pipe()
	wire = &counter{Conn: h}
	host = NewSession(NewWriter(wire), nonce, nil)
	agent := NewSession(NewWriter(a), nonce, handle)
	hostErr, agentErr = make(chan error, 1), make(chan error, 1)
	serve := func(s *Session, c net.Conn, errs chan error) {
		err := s.Serve(bufio.NewReaderSize(c, MaxFrame))
		s.Fail(err)
		c.Close()
		errs <- err
	}
	go serve(host, wire, hostErr)
	go serve(agent, a, agentErr)
	t.Cleanup(func() { h.Close(); a.Close() })
	return host, wire, hostErr, agentErr
}

// counter counts what a side reads.
type counter struct {
	net.Conn
	mu   sync.Mutex
	read int
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	c.read += n
	c.mu.Unlock()
	return n, err
}

func (c *counter) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read
}

// echo answers a request with what came on the data channel.
func echo(q *Request) {
	var m File
	if err := q.Body(&m); err != nil {
		q.Finish(Result{Error: err.Error()})
		return
	}
	q.Started(42)
	w := q.Writer(Data)
	io.Copy(w, q.Reader(Data))
	w.Close()
	q.Finish(Result{Body: string(Encode(&m))})
}

func TestRequest(t *testing.T) {
	host, _, _, _ := sessions(t, echo)
	var wg sync.WaitGroup
	for i := range MaxRequests {
		wg.Add(1)
		go func() {
			defer wg.Done()
			sent := bytes.Repeat([]byte{byte(i), 0xff, '\n'}, Window) // three windows
			// A body longer than the window, with all kinds of bytes.
			q, err := host.Open(OpRead, &File{Path: string(sent), Mode: uint32(i)})
			if err != nil {
				t.Error(err)
				return
			}
			go func() {
				q.SendBody()
				w := q.Writer(Data)
				w.Write(sent)
				w.Close()
			}()
			if pid, ok := q.WaitStarted(); !ok || pid != 42 {
				t.Errorf("WaitStarted: got %d, %t", pid, ok)
			}
			got, err := io.ReadAll(q.Reader(Data))
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("got %d bytes, %v; want %d", len(got), err, len(sent))
			}
			var m File
			// The result would be longer than a result may be.
			err = q.Result(&m)
			if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), "longer than") {
				t.Errorf("Result: got %v, want an error about its length", err)
			}
		}()
	}
	wg.Wait()
}

// A sender without a reader sends one window, whatever it has, and does not hold
// up other requests.
func TestFlowControl(t *testing.T) {
	full := make(chan struct{})
	host, wire, _, _ := sessions(t, func(q *Request) {
		if err := q.Body(nil); err != nil {
			t.Error(err)
		}
		if q.Op == OpInfo {
			q.Finish(Result{})
			return
		}
		for _, ch := range []Channel{Data, Stderr} {
			go func() {
				w := q.Writer(ch)
				w.Write(make([]byte, Window))
				full <- struct{}{}
				w.Write(make([]byte, 1<<30))
			}()
		}
	})
	flood, err := host.Open(OpRun, nil)
	if err != nil {
		t.Fatal(err)
	}
	flood.SendBody()
	<-full
	<-full
	for range 100 {
		q, err := host.Open(OpInfo, nil)
		if err != nil {
			t.Fatal(err)
		}
		q.SendBody()
		if err := q.Result(nil); err != nil {
			t.Fatal(err)
		}
	}
	if got, limit := wire.total(), 2*Window+Window/8; got > limit {
		t.Errorf("the host read %d bytes, want at most %d", got, limit)
	}
	for _, ch := range []Channel{Data, Stderr} {
		if n, _ := held(flood.in[ch]); n != Window {
			t.Errorf("channel %d holds %d bytes, want %d", ch, n, Window)
		}
		// A quarter of the window is granted again when it was read.
		io.ReadFull(flood.Reader(ch), make([]byte, Window/2))
		io.ReadFull(flood.Reader(ch), make([]byte, Window))
		if _, n := held(flood.in[ch]); n > 3*Window {
			t.Errorf("channel %d takes %d bytes, want at most %d", ch, n, 3*Window)
		}
	}
}

// held returns how many bytes a channel holds, and how many it takes.
func held(b *inbox) (length, capacity int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.buf), cap(b.buf)
}

// frames builds what an agent or a host might send.
type frames struct{ bytes.Buffer }

func (b *frames) add(kind frameType, ch Channel, request uint32, payload string) *frames {
	NewWriter(b).write(nil, frame{kind, ch, request, []byte(payload)})
	return b
}

func TestViolations(t *testing.T) {
	window := new(frames)
	for range Window / 1024 {
		window.add(frameData, Data, 1, strings.Repeat("x", 1024))
	}
	number := func(n uint32) string { return string(encodeUint32(n)) }
	for _, test := range []struct {
		name  string
		agent bool // the side that gets the bytes
		bytes *bytes.Buffer
		want  string
	}{
		{"unknown frame", false, bytes.NewBufferString("garbage!garbage!"), "unknown frame type 0x67"},
		{"unknown channel", false, &new(frames).add(frameData, 3, 1, "x").Buffer, "unknown channel 3"},
		{"long frame", false, bytes.NewBufferString("\x02\x01\xff\xff\x00\x00\x00\x01"), "frame of 65535 bytes"},
		{"end mark", false, bytes.NewBufferString("\x03\x01\x00\x00\x00\x00\x00\x01X"), "ends with 0x58"},
		{"end of stream", false, bytes.NewBufferString("\x02\x01\x00\x09\x00\x00\x00\x01x"), "unexpected EOF"},
		{"unknown request", false, &new(frames).add(frameData, Data, 2, "x").Buffer, "request 2, which is not open"},
		{"no request", false, &new(frames).add(frameCredit, Data, 0, number(1)).Buffer, "request 0, which is not open"},
		{"after the end", false, &new(frames).add(frameEnd, Control, 1, "").add(frameData, Data, 1, "x").Buffer, "request 1, which is not open"},
		{"after the end of a channel", false, &new(frames).add(frameEnd, Data, 1, "").add(frameData, Data, 1, "x").Buffer, "after the end of a channel"},
		{"more than the window", false, &window.add(frameData, Data, 1, "x").Buffer, "1 bytes on a channel that may take 0"},
		{"too much credit", false, &new(frames).add(frameCredit, Data, 1, number(1)).Buffer, "credit for 262145 bytes"},
		{"huge credit", false, &new(frames).add(frameCredit, Data, 1, number(1<<32-1)).Buffer, "credit for"},
		{"short credit", false, &new(frames).add(frameCredit, Data, 1, "xx").Buffer, "CREDIT frame of 2 bytes"},
		{"started twice", false, &new(frames).add(frameStarted, 0, 1, number(1)).add(frameStarted, 0, 1, number(1)).Buffer, "started twice"},
		{"open from the agent", false, &new(frames).add(frameOpen, 0, 2, "x").Buffer, "OPEN frame from the agent"},
		{"cancel from the agent", false, &new(frames).add(frameCancel, 0, 1, "").Buffer, "CANCEL frame from the agent"},
		{"lost", false, &new(frames).add(frameLost, 0, 0, "why\n").Buffer, `ended the session: "why\n"`},
		{"another session's answer", false, answer(Nonce{}), "another session"},
		{"started from the host", true, &new(frames).add(frameStarted, 0, 1, number(1)).Buffer, "STARTED frame from the host"},
		{"skipped number", true, &new(frames).add(frameOpen, 0, 3, "x").Buffer, "request 3 follows request 1"},
		{"bad signal", true, &new(frames).add(frameSignal, 0, 1, number(65)).Buffer, "signal 65"},
		{"long operation", true, &new(frames).add(frameOpen, 0, 2, "xx").Buffer, "OPEN frame of 2 bytes"},
		{"zeros", true, bytes.NewBuffer(make([]byte, 100)), "another hello"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var handle func(*Request)
			if test.agent {
				handle = func(*Request) {}
			}
			s := NewSession(NewWriter(io.Discard), nonce, handle)
			q, err := s.add(OpRun, 1)
			if err != nil {
				t.Fatal(err)
			}
			err = s.Serve(bufio.NewReaderSize(test.bytes, MaxFrame))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			s.Fail(err)
			if got := q.Result(nil); got == nil {
				t.Error("the request did not fail")
			}
		})
	}
}

func answer(n Nonce) *bytes.Buffer {
	b := new(bytes.Buffer)
	NewWriter(b).WriteAnswer(Answer{Nonce: n, Version: Version, Name: AgentName})
	return b
}

func TestTooManyRequests(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	host, _, _, agentErr := sessions(t, func(*Request) { <-block })
	for range MaxRequests {
		if _, err := host.Open(OpRun, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := host.Open(OpRun, nil); !errors.Is(err, ErrProtocol) {
		t.Errorf("the host opened too many requests: %v", err)
	}
	// A host that does not know the limit.
	host.w.write(host, frame{kind: frameOpen, request: MaxRequests + 1, payload: []byte{1}})
	if err := <-agentErr; err == nil || !strings.Contains(err.Error(), "more than 64 requests") {
		t.Errorf("agent: got %v", err)
	}
}

// Wherever an agent stopped in a stream, it finds the next hello.
func TestResync(t *testing.T) {
	var old frames
	old.add(frameOpen, 0, 2, "\x01").add(frameData, Control, 1, strings.Repeat("\xa5\xf0rq2", 30)).add(frameEnd, Control, 1, "")
	var hello bytes.Buffer
	w := NewWriter(&hello)
	w.write(nil, frame{frameData, Data, 1, bytes.Repeat([]byte{endMark}, MaxPayload)})
	hello.Reset()
	w.WritePadding()
	if !bytes.Equal(hello.Bytes(), make([]byte, MaxFrame)) {
		t.Error("the padding is not zero")
	}
	w.WriteHello(Hello{nonce, Version})
	w.WriteHello(Hello{nonce, Version})
	// The longest frame needs the most padding: all but its end mark is there.
	longest := new(frames).add(frameData, Data, 1, strings.Repeat("\xa5", MaxPayload))
	streams := [][]byte{longest.Bytes()[:MaxFrame-1], longest.Bytes()[:headerSize]}
	for cut := range old.Len() {
		streams = append(streams, old.Bytes()[:cut])
	}
	// A hello that was cut off before its end.
	for cut := range helloSize {
		streams = append(streams, hello.Bytes()[:MaxFrame+cut])
	}
	for _, stream := range streams {
		r := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(stream), bytes.NewReader(hello.Bytes())), MaxFrame)
		s := NewSession(NewWriter(io.Discard), Nonce{}, func(*Request) {})
		q, err := s.add(OpRun, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Serve(r); !errors.Is(err, ErrProtocol) {
			t.Fatalf("cut at %d: Serve: %v", len(stream), err)
		}
		// A frame that the zeros completed was not taken for a whole one.
		if b := q.in[Data].buf; len(b) > 0 {
			t.Fatalf("cut at %d: the request has %d bytes of the frame that was cut", len(stream), len(b))
		}
		for range 2 {
			h, err := ReadHello(r)
			if err != nil || h.Nonce != nonce || h.Version != Version {
				t.Fatalf("cut at %d: got %v, %v", len(stream), h, err)
			}
		}
	}
}

// The host finds its answer behind anything that an earlier session left.
func TestAnswer(t *testing.T) {
	var stream bytes.Buffer
	stream.WriteString("\xf1rq2agn\xf1rq2agnt")
	stream.Write(answer(Nonce{9}).Bytes())
	stream.Write(bytes.Repeat([]byte("garbage"), 100_000))
	stream.Write(new(frames).add(frameLost, 0, 0, "the agent started").Bytes())
	want := Answer{Nonce: nonce, Version: 7, Name: "another", Info: []byte("\x00info")}
	NewWriter(&stream).WriteAnswer(want)
	stream.WriteString("rest")
	r := bufio.NewReaderSize(&stream, MaxFrame)
	got, err := ReadAnswer(r, nonce)
	if err != nil || got.Nonce != nonce || got.Version != 7 || got.Name != "another" || string(got.Info) != "\x00info" {
		t.Errorf("got %+v, %v", got, err)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "rest" {
		t.Errorf("%d bytes follow, want 4", len(rest))
	}
}
