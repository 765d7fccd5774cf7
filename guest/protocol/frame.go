package protocol

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A frame is a header of 8 bytes, a payload, and an end mark.
const (
	headerSize = 8
	endMark    = 0xa5
)

type frameType uint8

const (
	frameOpen    frameType = 1 // host: begins a request; payload: the operation, 1 byte
	frameData    frameType = 2 // payload: 1 byte or more of the channel
	frameEnd     frameType = 3 // the channel ends; on the agent's control channel, the request ends
	frameCredit  frameType = 4 // payload: how many more bytes the sender may send on the channel
	frameStarted frameType = 5 // agent: the command runs, or the connection is made; payload: its process id or 0
	frameSignal  frameType = 6 // host: payload: the signal to send to the command's process group
	frameCancel  frameType = 7 // host: end the request now
	frameLost    frameType = 8 // agent: the session is over; payload: why
	frameResize  frameType = 9 // host: payload: rows and columns of the command's terminal, 2 bytes each
)

func (t frameType) String() string {
	names := [...]string{"?", "OPEN", "DATA", "END", "CREDIT", "STARTED", "SIGNAL", "CANCEL", "LOST", "RESIZE"}
	if int(t) < len(names) && t != 0 {
		return names[t]
	}
	return fmt.Sprintf("type %#02x", uint8(t))
}

// Channel is one of the byte streams of a request.
type Channel uint8

const (
	// Control carries the request's body to the agent and its result back.
	Control Channel = 0
	// Data carries standard input to the agent, standard output to the host, or
	// the content of files either way.
	Data Channel = 1
	// Stderr carries standard error to the host.
	Stderr Channel = 2

	channels = 3
)

// ErrProtocol is wrapped by every error about bytes that break the protocol.
var ErrProtocol = errors.New("agent protocol")

// errNewHello is the error of a hello, or of the zeros before it, between frames.
var errNewHello = fmt.Errorf("%w: another hello", ErrProtocol)

// IsNewHello reports whether Serve met another hello, which it did not read. After
// another error of the protocol, the agent tells the host that the session is
// lost. After this one it must not: the host may have repeated its hello just
// before the answer.
func IsNewHello(err error) bool { return err == errNewHello }

func violation(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

type frame struct {
	kind    frameType
	channel Channel
	request uint32
	payload []byte // valid until the next frame is read
}

// readFrame reads the next frame. The buffer of r must hold MaxFrame bytes.
func readFrame(r *bufio.Reader) (frame, error) {
	header, err := r.Peek(headerSize)
	if err != nil {
		return frame{}, truncated(header, err)
	}
	f := frame{
		kind:    frameType(header[0]),
		channel: Channel(header[1]),
		request: binary.BigEndian.Uint32(header[4:]),
	}
	length := int(binary.BigEndian.Uint16(header[2:]))
	switch {
	case header[0] == 0 || header[0] == helloMagic[0]:
		return frame{}, errNewHello
	case f.kind < frameOpen || f.kind > frameResize:
		return frame{}, violation("unknown frame %s", f.kind)
	case f.channel >= channels:
		return frame{}, violation("%s frame on unknown channel %d", f.kind, f.channel)
	case length > MaxPayload:
		return frame{}, violation("%s frame of %d bytes, the longest is %d", f.kind, length, MaxPayload)
	}
	whole, err := r.Peek(headerSize + length + 1)
	if err != nil {
		return frame{}, truncated(whole, err)
	}
	if mark := whole[headerSize+length]; mark != endMark {
		return frame{}, violation("%s frame ends with %#02x instead of %#02x", f.kind, mark, endMark)
	}
	f.payload = whole[headerSize : headerSize+length]
	// Discard cannot fail: Peek returned these bytes. They stay in place until the
	// next read.
	r.Discard(len(whole))
	return f, nil
}

// truncated tells a stream that ends within a frame from one that ends after it.
func truncated(got []byte, err error) error {
	if err == io.EOF && len(got) > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Writer writes frames, one at a time. On the agent's side it outlives sessions.
type Writer struct {
	mu  sync.Mutex
	w   io.Writer
	buf [MaxFrame]byte
}

// NewWriter returns a Writer to the stream w. Each frame is one Write.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// write writes a frame, unless the session that it belongs to is over by then.
func (w *Writer) write(s *Session, f frame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s != nil {
		if err := s.Err(); err != nil {
			return err
		}
	}
	b := append(w.buf[:0], byte(f.kind), byte(f.channel))
	b = binary.BigEndian.AppendUint16(b, uint16(len(f.payload)))
	b = binary.BigEndian.AppendUint32(b, f.request)
	b = append(b, f.payload...)
	return w.send(append(b, endMark))
}

// send writes b whole. The caller holds w.mu.
func (w *Writer) send(b []byte) error {
	n, err := w.w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}

// Lost tells the host that the agent has no session, and why. The host's
// connection fails with that instead of waiting for answers that cannot come.
func (w *Writer) Lost(why string) error {
	return w.write(nil, frame{kind: frameLost, payload: []byte(why[:min(len(why), 512)])})
}
