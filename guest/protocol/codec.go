package protocol

import (
	"encoding/binary"
	"fmt"
)

// Message is a body or a result. It lists its fields once, in order, for both
// directions: integers are
// big-endian, a string is its length in 4 bytes and its bytes, a list is its
// length in 4 bytes and its items. Strings hold any bytes.
type Message interface{ fields(*coder) }

// coder writes fields to buf, or reads them from it.
type coder struct {
	buf      []byte
	decoding bool
	err      error
}

// Encode returns the bytes of m.
func Encode(m Message) []byte {
	var c coder
	m.fields(&c)
	return c.buf
}

// Decode reads m from b, which holds m and nothing else.
func Decode(b []byte, m Message) error {
	c := coder{buf: b, decoding: true}
	m.fields(&c)
	if c.err == nil && len(c.buf) > 0 {
		c.err = violation("%d bytes after the message", len(c.buf))
	}
	if c.err != nil {
		return fmt.Errorf("decode %T: %w", m, c.err)
	}
	return nil
}

// take removes n bytes from the buffer; it returns nil if there are fewer.
func (c *coder) take(n int) []byte {
	if c.err == nil && n > len(c.buf) {
		c.err = violation("message ends early: %d bytes left, %d needed", len(c.buf), n)
	}
	if c.err != nil {
		return nil
	}
	b := c.buf[:n]
	c.buf = c.buf[n:]
	return b
}

func (c *coder) uint32(v *uint32) {
	if !c.decoding {
		c.buf = binary.BigEndian.AppendUint32(c.buf, *v)
	} else if b := c.take(4); b != nil {
		*v = binary.BigEndian.Uint32(b)
	}
}

func (c *coder) int64(v *int64) {
	if !c.decoding {
		c.buf = binary.BigEndian.AppendUint64(c.buf, uint64(*v))
	} else if b := c.take(8); b != nil {
		*v = int64(binary.BigEndian.Uint64(b))
	}
}

func (c *coder) bool(v *bool) {
	var n uint32
	if *v {
		n = 1
	}
	c.uint32(&n)
	if n > 1 && c.err == nil {
		c.err = violation("%d is not a boolean", n)
	}
	*v = n == 1
}

// count codes the length of something whose items take at least 1 byte each, so
// that no more is allocated than the message is long.
func (c *coder) count(have int) int {
	n := uint32(have)
	c.uint32(&n)
	if c.decoding && c.err == nil && int64(n) > int64(len(c.buf)) {
		c.err = violation("message ends early: %d bytes left, %d items announced", len(c.buf), n)
	}
	if c.err != nil {
		return 0
	}
	return int(n)
}

func (c *coder) string(v *string) {
	n := c.count(len(*v))
	if !c.decoding {
		c.buf = append(c.buf, *v...)
	} else {
		*v = string(c.take(n))
	}
}

func (c *coder) strings(v *[]string) {
	n := c.count(len(*v))
	if !c.decoding {
		for i := range *v {
			c.string(&(*v)[i])
		}
		return
	}
	*v = nil
	for range n {
		var s string
		c.string(&s)
		if c.err != nil {
			return
		}
		*v = append(*v, s)
	}
}
