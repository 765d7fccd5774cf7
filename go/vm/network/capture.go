package network

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// maxCaptureFrames is how many frames wait for the writer of a capture.
const maxCaptureFrames = 2048

// A Capture writes the frames of a network to a file.
type Capture struct {
	network *Network
	done    chan struct{}
	err     error // of the writer; valid when done is closed

	mu     sync.Mutex
	closed bool
	missed uint64
	frames chan captured
}

type captured struct {
	at    time.Time
	frame []byte
}

// Capture starts to write all frames to w as a pcap file, which tcpdump and
// Wireshark read. A frame is in it once, at the time that the switch received
// it or answered. So it has frames that the link of the receiver loses, and does
// not have those that the link of the sender lost.
//
// The switch does not wait for w. If w is slower than the network for more than
// 2,048 frames, further frames are missing, and Close says how many.
//
// A call of Close, of the capture or of the network, ends it. Captures can run
// at the same time.
func (n *Network) Capture(w io.Writer) *Capture {
	c := &Capture{network: n, done: make(chan struct{}), frames: make(chan captured, maxCaptureFrames)}
	go c.write(w)
	n.mu.Lock()
	closed := n.closed
	if !closed {
		n.captures = append(slices.Clone(n.captures), c)
	}
	n.mu.Unlock()
	if closed {
		c.Close()
	}
	return c
}

// capture adds a frame to all captures.
func (n *Network) capture(frame []byte) {
	n.mu.RLock()
	captures := n.captures
	n.mu.RUnlock()
	for _, c := range captures {
		c.add(frame)
	}
}

func (c *Capture) add(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	select {
	case c.frames <- captured{time.Now(), frame}:
	default:
		c.missed++
	}
}

// Close ends the capture when all its frames are written. It returns an error
// if w failed or if frames are missing.
func (c *Capture) Close() error {
	c.network.mu.Lock()
	c.network.captures = slices.DeleteFunc(slices.Clone(c.network.captures), func(other *Capture) bool { return other == c })
	c.network.mu.Unlock()
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.frames)
	}
	missed := c.missed
	c.mu.Unlock()
	<-c.done
	var err error
	if missed > 0 {
		err = fmt.Errorf("network: capture: %d frames are missing because the writer is slower than the network", missed)
	}
	if c.err != nil {
		err = errors.Join(fmt.Errorf("network: capture: %w", c.err), err)
	}
	return err
}

// write writes a classic pcap file, with times in microseconds:
// https://www.ietf.org/archive/id/draft-gharris-opsawg-pcap-01.html
func (c *Capture) write(w io.Writer) {
	defer close(c.done)
	out := bufio.NewWriterSize(w, 64<<10) // keeps the first error
	header := make([]byte, 0, 24)
	header = binary.LittleEndian.AppendUint32(header, 0xa1b2c3d4) // Magic Number
	header = binary.LittleEndian.AppendUint16(header, 2)          // Major Version
	header = binary.LittleEndian.AppendUint16(header, 4)          // Minor Version
	header = binary.LittleEndian.AppendUint64(header, 0)          // Reserved1, Reserved2
	header = binary.LittleEndian.AppendUint32(header, 65535)      // SnapLen
	header = binary.LittleEndian.AppendUint32(header, 1)          // LinkType: LINKTYPE_ETHERNET
	out.Write(header)
	for f := range c.frames {
		record := header[:0]
		record = binary.LittleEndian.AppendUint32(record, uint32(f.at.Unix()))
		record = binary.LittleEndian.AppendUint32(record, uint32(f.at.Nanosecond()/1000))
		record = binary.LittleEndian.AppendUint32(record, uint32(len(f.frame))) // Captured Packet Length
		record = binary.LittleEndian.AppendUint32(record, uint32(len(f.frame))) // Original Packet Length
		out.Write(record)
		out.Write(f.frame)
		if len(c.frames) == 0 {
			out.Flush() // so that a reader of the file sees it
		}
	}
	c.err = out.Flush()
}
