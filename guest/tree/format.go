// Package tree sends a file or a directory with everything in it over a byte stream,
// and makes it again at the other end: permissions, owners, modification times,
// symbolic and hard links, holes, FIFOs and devices. Sockets are left out.
// Extended attributes are not sent.
//
// The stream is not tar: archive/tar cannot write sparse files, and tar wants to
// know the size of a file before its content, while log files grow as they are
// read. Names in the stream are single path elements below the directory that was
// entered last, so a stream cannot name anything outside its destination.
package tree

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
)

// Kinds of records. docs/agent-protocol.md has their fields.
const (
	kindDir     = 'D' // enters the directory
	kindUp      = 'U' // leaves the directory
	kindFile    = 'F' // data records and an end record follow
	kindData    = 'd'
	kindEnd     = 'e'
	kindSymlink = 'L'
	kindLink    = 'H'
	kindFIFO    = 'P'
	kindChar    = 'C'
	kindBlock   = 'B'
)

// Limits of a stream.
const (
	maxName    = 255  // bytes of a name; Linux has the same limit
	maxTarget  = 4096 // bytes of a link's target
	maxDepth   = 256  // directories within directories; each takes a descriptor
	maxSegment = 1 << 20
	maxOffset  = 1<<63 - 1 - maxSegment
)

// ErrFormat is wrapped by errors about streams that do not follow the format.
var ErrFormat = errors.New("file tree")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// entry is a record that makes a file of any type.
type entry struct {
	kind     byte
	name     string // "" for the first record
	perm     uint32 // permissions, set-user-ID, set-group-ID, sticky: chmod's 12 bits
	uid, gid uint32
	mtime    time.Time
	target   string // of a symbolic link: unchanged; of a hard link: elements from the top, joined by /
	major    uint32
	minor    uint32
}

// encoder writes records. Each is one Write.
type encoder struct {
	w   io.Writer
	buf []byte
}

func (e *encoder) entry(n entry) error {
	b := append(e.buf[:0], n.kind)
	b = appendString(b, n.name)
	b = binary.BigEndian.AppendUint32(b, n.perm)
	b = binary.BigEndian.AppendUint32(b, n.uid)
	b = binary.BigEndian.AppendUint32(b, n.gid)
	b = binary.BigEndian.AppendUint64(b, uint64(n.mtime.UnixNano()))
	switch n.kind {
	case kindSymlink, kindLink:
		b = appendString(b, n.target)
	case kindChar, kindBlock:
		b = binary.BigEndian.AppendUint32(b, n.major)
		b = binary.BigEndian.AppendUint32(b, n.minor)
	}
	return e.write(b)
}

func (e *encoder) up() error { return e.write(append(e.buf[:0], kindUp)) }

func (e *encoder) end(size int64) error {
	return e.write(binary.BigEndian.AppendUint64(append(e.buf[:0], kindEnd), uint64(size)))
}

func (e *encoder) write(b []byte) error {
	e.buf = b[:0]
	_, err := e.w.Write(b)
	return err
}

// Data is written from a buffer that has room for the record's header in front,
// so that the bytes of a file are not copied.
const dataHeader = 1 + 8 + 4

func (e *encoder) data(offset int64, room []byte) error {
	room[0] = kindData
	binary.BigEndian.PutUint64(room[1:], uint64(offset))
	binary.BigEndian.PutUint32(room[9:], uint32(len(room)-dataHeader))
	_, err := e.w.Write(room)
	return err
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// decoder reads records, and trusts none of them.
type decoder struct {
	r   *bufio.Reader
	buf [8]byte
}

func (d *decoder) kind() (byte, error) { return d.r.ReadByte() }

func (d *decoder) number(size int) (uint64, error) {
	b := d.buf[:]
	clear(b)
	_, err := io.ReadFull(d.r, b[8-size:])
	return binary.BigEndian.Uint64(b), noEOF(err)
}

func (d *decoder) string(limit int) (string, error) {
	n, err := d.number(2)
	if err != nil {
		return "", err
	}
	if n > uint64(limit) {
		return "", malformed("a name of %d bytes, the limit is %d", n, limit)
	}
	b := make([]byte, n)
	_, err = io.ReadFull(d.r, b)
	return string(b), noEOF(err)
}

// entry reads the rest of a record that makes a file.
func (d *decoder) entry(kind byte) (entry, error) {
	n := entry{kind: kind}
	var err error
	if n.name, err = d.string(maxName); err != nil {
		return n, err
	}
	for _, field := range []*uint32{&n.perm, &n.uid, &n.gid} {
		v, err := d.number(4)
		if err != nil {
			return n, err
		}
		*field = uint32(v)
	}
	nanos, err := d.number(8)
	if err != nil {
		return n, err
	}
	n.mtime = time.Unix(0, int64(nanos))
	switch kind {
	case kindDir, kindFile, kindFIFO:
	case kindSymlink, kindLink:
		n.target, err = d.string(maxTarget)
	case kindChar, kindBlock:
		var major, minor uint64
		if major, err = d.number(4); err == nil {
			minor, err = d.number(4)
		}
		n.major, n.minor = uint32(major), uint32(minor)
	default:
		err = malformed("unknown record %q", kind)
	}
	if err == nil && n.perm&^0o7777 != 0 {
		err = malformed("permissions %#o of %q", n.perm, n.name)
	}
	return n, err
}

// checkName refuses names that are not one path element.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || strings.ContainsRune(name, '\\') && filepathSeparator == '\\' {
		return malformed("%q is not the name of a file in a directory", name)
	}
	return nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// toMode returns os's form of chmod's 12 bits.
func toMode(perm uint32) fs.FileMode {
	mode := fs.FileMode(perm & 0o777)
	for bit, flag := range modeBits {
		if perm&bit != 0 {
			mode |= flag
		}
	}
	return mode
}

func fromMode(mode fs.FileMode) uint32 {
	perm := uint32(mode.Perm())
	for bit, flag := range modeBits {
		if mode&flag != 0 {
			perm |= bit
		}
	}
	return perm
}

var modeBits = map[uint32]fs.FileMode{
	0o4000: fs.ModeSetuid,
	0o2000: fs.ModeSetgid,
	0o1000: fs.ModeSticky,
}
