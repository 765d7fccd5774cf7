package protocol

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
)

// A stream may hold parts of an earlier session: a saved machine resumes in the
// middle of a frame, a serial line keeps bytes of the firmware. So neither side
// trusts its position in the stream before the hello.
//
// The host sends MaxFrame zero bytes and then its hello. Wherever the agent is in
// a frame, the zeros complete that frame with a wrong end mark or begin one of an
// unknown type. The agent then drops everything up to a hello. The host drops
// everything up to an answer with its nonce, which no earlier session knew.
//
// A host may repeat its hello, without zeros, until it has an answer.
var (
	helloMagic  = [8]byte{0xf0, 'r', 'q', '2', 'h', 'o', 's', 't'}
	answerMagic = [8]byte{0xf1, 'r', 'q', '2', 'a', 'g', 'n', 't'}
)

// Nonce names a session. The host draws a random one for each.
type Nonce [16]byte

// Hello begins a session. Its layout is the same in all versions.
type Hello struct {
	Nonce   Nonce
	Version uint16
}

const (
	helloSize = 8 + 16 + 2 + 1
	// The part of an answer before the name.
	answerSize = 8 + 16 + 2 + 1 + 2
)

// Answer is the agent's reply to a Hello. Its layout up to Name is the same in all
// versions.
type Answer struct {
	Nonce   Nonce
	Version uint16
	Name    string // of the agent, at most 255 bytes
	Info    []byte // an encoded [Info] of that version, at most 65535 bytes
}

// WritePadding writes the zeros that a host sends before its first hello.
func (w *Writer) WritePadding() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.buf[:])
	return w.send(w.buf[:])
}

// WriteHello writes a hello.
func (w *Writer) WriteHello(h Hello) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := append(w.buf[:0], helloMagic[:]...)
	b = append(b, h.Nonce[:]...)
	b = binary.BigEndian.AppendUint16(b, h.Version)
	return w.send(append(b, endMark))
}

// ReadHello drops bytes up to the next hello and returns it.
func ReadHello(r *bufio.Reader) (Hello, error) {
	for {
		if err := seek(r, helloMagic[:]); err != nil {
			return Hello{}, err
		}
		b, err := r.Peek(helloSize)
		if err != nil {
			return Hello{}, truncated(b, err)
		}
		if b[helloSize-1] != endMark {
			// The rest of this hello is missing, and another one follows.
			r.Discard(len(helloMagic))
			continue
		}
		h := Hello{Nonce: Nonce(b[8:24]), Version: binary.BigEndian.Uint16(b[24:])}
		r.Discard(helloSize)
		return h, nil
	}
}

// WriteAnswer writes an answer. Sessions that ended before write nothing after it.
func (w *Writer) WriteAnswer(a Answer) error {
	b := append([]byte(nil), answerMagic[:]...)
	b = append(b, a.Nonce[:]...)
	b = binary.BigEndian.AppendUint16(b, a.Version)
	name, info := a.Name[:min(len(a.Name), 255)], a.Info[:min(len(a.Info), 65535)]
	b = append(b, byte(len(name)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(info)))
	b = append(b, name...)
	b = append(b, info...)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.send(append(b, endMark))
}

// ReadAnswer drops bytes up to the next answer with this nonce and returns it.
func ReadAnswer(r *bufio.Reader, nonce Nonce) (Answer, error) {
	want := append(answerMagic[:len(answerMagic):len(answerMagic)], nonce[:]...)
	if err := seek(r, want); err != nil {
		return Answer{}, err
	}
	return readAnswer(r)
}

// readAnswer reads the answer that r begins with.
func readAnswer(r *bufio.Reader) (Answer, error) {
	head := make([]byte, answerSize)
	if _, err := io.ReadFull(r, head); err != nil {
		return Answer{}, truncated(head, err)
	}
	a := Answer{Nonce: Nonce(head[8:24]), Version: binary.BigEndian.Uint16(head[24:])}
	name, info := int(head[26]), int(binary.BigEndian.Uint16(head[27:]))
	rest := make([]byte, name+info+1)
	if _, err := io.ReadFull(r, rest); err != nil {
		return Answer{}, truncated(head, err)
	}
	if rest[name+info] != endMark {
		return Answer{}, violation("the agent's answer ends with %#02x instead of %#02x", rest[name+info], endMark)
	}
	a.Name, a.Info = string(rest[:name]), rest[name:name+info]
	return a, nil
}

// seek drops bytes up to the next occurrence of magic, which it leaves unread.
func seek(r *bufio.Reader, magic []byte) error {
	for {
		if _, err := r.Peek(len(magic)); err != nil {
			return err
		}
		b, _ := r.Peek(r.Buffered())
		if at := bytes.Index(b, magic); at >= 0 {
			r.Discard(at)
			return nil
		}
		// The end of the buffer may be the beginning of the magic.
		r.Discard(len(b) - len(magic) + 1)
	}
}
