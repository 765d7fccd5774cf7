package protocol

import (
	"bufio"
	"bytes"
	"io"
	"testing"
)

func seeds(f *testing.F) {
	var good frames
	good.add(frameStarted, 0, 1, "\x00\x00\x00\x05")
	good.add(frameData, Data, 1, "out").add(frameData, Stderr, 1, "err")
	good.add(frameEnd, Data, 1, "").add(frameEnd, Stderr, 1, "")
	good.add(frameData, Control, 1, string(Encode(&Result{Body: string(Encode(&Exit{Status: 1}))})))
	good.add(frameEnd, Control, 1, "")
	f.Add(good.Bytes())
	f.Add(append(answer(nonce).Bytes(), good.Bytes()...))
	f.Add(new(frames).add(frameCredit, 0, 1, "\xff\xff\xff\xff").Bytes())
	f.Add(new(frames).add(frameLost, 0, 0, "lost").Bytes())
	f.Add([]byte("\x02\x01\xff\xff\x00\x00\x00\x01"))
	f.Add(make([]byte, MaxFrame))
}

// FuzzHost feeds the host's side whatever a guest may send.
func FuzzHost(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, stream []byte) {
		s := NewSession(NewWriter(io.Discard), nonce, nil)
		q, err := s.Open(OpRun, &Run{Args: []string{"true"}})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Serve(bufio.NewReaderSize(bytes.NewReader(stream), MaxFrame))
		if err == nil {
			t.Fatal("Serve returned without an error")
		}
		for ch := range q.in {
			if n := len(q.in[ch].buf); n > Window {
				t.Fatalf("channel %d holds %d bytes", ch, n)
			}
		}
		s.Fail(err)
		q.WaitStarted()
		io.Copy(io.Discard, q.Reader(Data))
		io.Copy(io.Discard, q.Reader(Stderr))
		var exit Exit
		q.Result(&exit)
	})
}

// FuzzAnswer feeds the host whatever may come before and as an answer.
func FuzzAnswer(f *testing.F) {
	f.Add(answer(nonce).Bytes())
	f.Add(append([]byte("garbage"), answer(nonce).Bytes()[:30]...))
	f.Fuzz(func(t *testing.T, stream []byte) {
		a, err := ReadAnswer(bufio.NewReaderSize(bytes.NewReader(stream), MaxFrame), nonce)
		if err == nil && a.Nonce != nonce {
			t.Fatalf("took the answer to nonce %x", a.Nonce)
		}
	})
}

// FuzzAgent feeds the agent's side.
func FuzzAgent(f *testing.F) {
	f.Add(new(frames).add(frameOpen, 0, 1, "\x01").add(frameEnd, 0, 1, "").add(frameCancel, 0, 1, "").Bytes())
	f.Add(new(frames).add(frameOpen, 0, 1, "\x01").add(frameSignal, 0, 1, "\x00\x00\x00\x40").Bytes())
	f.Add(new(frames).add(frameOpen, 0, 1, "\x01").add(frameResize, 0, 1, "\x00\x18\x00\x50").Bytes())
	f.Fuzz(func(t *testing.T, stream []byte) {
		s := NewSession(NewWriter(io.Discard), nonce, func(q *Request) {
			var m Run
			q.Body(&m)
			q.TakeSignal()
			q.TakeSize()
			q.Finish(Result{})
		})
		s.Fail(s.Serve(bufio.NewReaderSize(bytes.NewReader(stream), MaxFrame)))
	})
}

// FuzzMessages decodes messages. What is accepted encodes to the same bytes.
func FuzzMessages(f *testing.F) {
	for i, m := range messages() {
		f.Add(uint8(i), Encode(m))
	}
	f.Add(uint8(0), []byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		all := messages()
		m := all[int(which)%len(all)]
		if err := Decode(b, m); err == nil && !bytes.Equal(Encode(m), b) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", b, m, Encode(m))
		}
	})
}

func messages() []Message {
	return []Message{
		&Run{Args: []string{"a", "", "\xff\n"}, Env: []string{"A=1"}, Dir: "/", User: "u", TimeLimit: -1, WantStdin: true, Terminal: true, Rows: 24, Columns: 80},
		&Exit{Status: 1, Signal: 2, TimedOut: true},
		&File{Path: "/p", Mode: 0o644},
		&Tree{Path: "/p", FollowLinks: true},
		&Dial{Network: "tcp", Address: "127.0.0.1:1"},
		&Clock{Time: 1 << 60},
		&Configure{Seed: "seed", Time: 1, Links: []Link{{MAC: "m"}, {Prefix: "p"}}, Thaw: true},
		&Rest{Limit: 1},
		&Rested{AtRest: true, Busy: "sh 1.00 s"},
		&Tmpfs{Path: "/p", Mode: 0o1777, Content: 1},
		&Info{Arch: "x86_64", BootID: "id", Initrd: true},
		&Result{Errno: 2, Error: "e", Body: "b"},
	}
}
