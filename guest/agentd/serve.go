//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

type agent struct {
	kernel kernelDirs
	start  starter
	frozen frozen
}

func newAgent(kernel kernelDirs) *agent {
	// Little memory matters more than speed here.
	debug.SetGCPercent(50)
	a := &agent{kernel: kernel}
	a.start.init(kernel)
	return a
}

// serve answers hellos and serves a session after each, until f fails.
func (a *agent) serve(f *os.File) error {
	channel := newNonblocking(f)
	r := bufio.NewReaderSize(channel, 2*protocol.MaxFrame)
	w := protocol.NewWriter(channel)
	// After a reboot, or after the agent crashed, the host may wait for answers
	// that will not come.
	if err := w.Lost("the agent started"); err != nil {
		return err
	}
	for {
		hello, err := protocol.ReadHello(r)
		if err == nil {
			err = a.session(r, w, hello)
		}
		switch {
		case protocol.IsNewHello(err):
		case errors.Is(err, protocol.ErrProtocol):
			w.Lost(err.Error())
		case errors.Is(err, io.EOF) && strings.HasPrefix(f.Name(), "vport"):
			// A virtio-serial port is at its end while the host is not connected.
			time.Sleep(20 * time.Millisecond)
		case err != nil:
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
}

// session answers a hello and serves the session after it. When it returns, the
// session is over and its commands are being killed. The error is nil if the host
// needs another version.
func (a *agent) session(r *bufio.Reader, w *protocol.Writer, hello protocol.Hello) error {
	if err := a.answer(w, hello); err != nil || hello.Version != protocol.Version {
		return err
	}
	s := protocol.NewSession(w, hello.Nonce, a.handle)
	err := s.Serve(r)
	s.Fail(err)
	return err
}

func (a *agent) answer(w *protocol.Writer, hello protocol.Hello) error {
	info := a.frozen.info()
	if info == nil {
		now := a.info()
		info = &now
	}
	return w.WriteAnswer(protocol.Answer{
		Nonce:   hello.Nonce,
		Version: protocol.Version,
		Name:    protocol.AgentName,
		Info:    protocol.Encode(info),
	})
}

// refuse answers a hello, and then says why there is no session.
func (a *agent) refuse(f *os.File, why error) error {
	hello, err := protocol.ReadHello(bufio.NewReaderSize(f, 2*protocol.MaxFrame))
	if err != nil {
		return err
	}
	w := protocol.NewWriter(f)
	if err := a.answer(w, hello); err != nil {
		return err
	}
	return w.Lost(why.Error())
}

// cancelDelay is how long a canceled request may take to end before the host gets
// its result anyway.
const cancelDelay = 3 * time.Second

// handle serves one request.
func (a *agent) handle(q *protocol.Request) {
	type outcome struct {
		result protocol.Result
		after  func()
	}
	done := make(chan outcome, 1)
	go func() {
		body, after, err := a.do(q)
		if err != nil {
			done <- outcome{result: protocol.Failure(err, errno)}
			return
		}
		done <- outcome{protocol.Result{Body: string(body)}, after}
	}()
	var o outcome
	select {
	case o = <-done:
	case <-q.Context().Done():
		select {
		case o = <-done:
		case <-time.After(cancelDelay):
			o.result.Error = "canceled, but the guest's kernel did not end it yet"
		}
	}
	if err := q.Finish(o.result); err == nil && o.after != nil {
		o.after()
	}
}

// do returns the body of the result, and what to do after the host has it.
func (a *agent) do(q *protocol.Request) (body []byte, after func(), err error) {
	switch q.Op {
	case protocol.OpRun:
		body, err = a.run(q)
	case protocol.OpRead:
		err = readFile(q)
	case protocol.OpWrite:
		err = writeFile(q)
	case protocol.OpPack:
		err = packTree(q)
	case protocol.OpUnpack:
		err = unpackTree(q)
	case protocol.OpDial:
		err = dial(q)
	case protocol.OpInfo:
		err = q.Body(nil)
		info := a.info()
		body = protocol.Encode(&info)
	case protocol.OpPowerOff:
		err = q.Body(nil)
		after = func() { a.end(powerOff) }
	case protocol.OpReboot:
		err = q.Body(nil)
		after = func() { a.end(reboot) }
	case protocol.OpStat:
		err = stat(q)
	case protocol.OpConfigure:
		body, err = a.configure(q)
	case protocol.OpRest:
		body, err = a.rest(q)
	case protocol.OpFreeze:
		if err = q.Body(nil); err == nil {
			err = a.freeze()
		}
	case protocol.OpTmpfs:
		err = a.mountTmpfs(q)
	default:
		err = fmt.Errorf("the agent does not know operation %d", q.Op)
	}
	return body, after, err
}

// errno returns the system's error number in err, or 0.
func errno(err error) uint32 {
	var n syscall.Errno
	if errors.As(err, &n) {
		return uint32(n)
	}
	return 0
}

// copyBuffers are for bytes on their way between a file and the host.
var copyBuffers = sync.Pool{New: func() any { return new([2 * protocol.MaxPayload]byte) }}

// copyBytes is io.Copy with one of these buffers. It hides the methods by which
// io.Copy would avoid the buffer and use smaller ones.
func copyBytes(w io.Writer, r io.Reader) error {
	b := copyBuffers.Get().(*[2 * protocol.MaxPayload]byte)
	defer copyBuffers.Put(b)
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, b[:])
	return err
}

// closeOn calls close when ctx is done. The result stops that.
func closeOn(ctx context.Context, c io.Closer) (stop func() bool) {
	return context.AfterFunc(ctx, func() { c.Close() })
}
