// Package qmp speaks the QEMU Machine Protocol.
package qmp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// An Event is what QEMU tells by itself.
type Event struct {
	Name string `json:"event"`
	Data struct {
		Guest  bool   `json:"guest"`
		Reason string `json:"reason"`
		// Of BLOCK_IO_ERROR:
		Node   string `json:"node-name"`
		Action string `json:"action"`
	} `json:"data"`
}

// A Client is one end of a connection.
type Client struct {
	conn io.ReadWriter

	// Events closes with the connection.
	Events  chan Event
	answers chan answer
	mu      sync.Mutex
	next    int
}

type answer struct {
	ID     int             `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
}

// New begins to read from conn.
func New(conn io.ReadWriter) *Client {
	c := &Client{conn: conn, Events: make(chan Event, 1024), answers: make(chan answer, 16)}
	go c.read()
	return c
}

func (c *Client) read() {
	defer close(c.answers)
	defer close(c.Events)
	decoder := json.NewDecoder(c.conn)
	for {
		var message struct {
			answer
			Event
		}
		if decoder.Decode(&message) != nil {
			return
		}
		switch {
		case message.Name != "":
			select {
			case c.Events <- message.Event:
			default: // nobody wants that many
			}
		case message.Return != nil || message.Error != nil:
			c.answers <- message.answer
		}
	}
}

// Execute runs a command and returns what it returns.
func (c *Client) Execute(command string, arguments any, timeout time.Duration) (json.RawMessage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	request := map[string]any{"execute": command, "id": c.next}
	if arguments != nil {
		request["arguments"] = arguments
	}
	b, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(b); err != nil {
		return nil, fmt.Errorf("QMP %s: %w", command, err)
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		select {
		case answer, ok := <-c.answers:
			switch {
			case !ok:
				return nil, fmt.Errorf("QMP %s: %w", command, io.ErrUnexpectedEOF)
			case answer.ID != c.next:
				continue // to a command that was given up
			case answer.Error != nil:
				return nil, fmt.Errorf("QMP %s: %w", command, errors.New(answer.Error.Desc))
			}
			return answer.Return, nil
		case <-timer.C:
			return nil, fmt.Errorf("QMP %s: no answer within %v", command, timeout)
		}
	}
}
