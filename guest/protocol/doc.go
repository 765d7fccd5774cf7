// Package protocol is how a host and the agent in a guest talk over one byte
// stream: a virtio-serial port or a serial line. Both sides use this package.
//
// A session begins with [Hello] and [Answer]. After that both sides exchange
// frames. The host opens requests; each request has a control channel and up to
// two data channels, and every channel has flow control. [Session] does all of
// that: it multiplexes requests over the stream and bounds the memory they take.
//
// docs/agent-protocol.md describes the bytes.
package protocol

// Version is the version of the protocol. Host and agent must have the same one.
const Version = 1

// AgentName is the name of the agent of this package in an [Answer].
const AgentName = "rules_qcow2 agent"

// AgentEnv is the environment of the agent. Go's runtime would interrupt its threads by
// signals when the guest is slow, which it is when it has just resumed.
const AgentEnv = "GODEBUG=asyncpreemptoff=1"

// PortName is the name of the agent's virtio-serial port in the guest.
const PortName = "org.rules-qcow2.agent.0"

// Limits of the protocol. They bound the memory of either side.
const (
	// MaxFrame is the length of the longest frame, in bytes. Linux takes at most
	// this many bytes in one write to a virtio-serial port.
	MaxFrame = 32 << 10
	// MaxPayload is the length of the longest payload of a frame, in bytes.
	MaxPayload = MaxFrame - headerSize - 1
	// Window is how many bytes a sender may send on a channel before the receiver
	// grants more.
	Window = 256 << 10
	// MaxRequests is the largest number of requests that are open at once.
	MaxRequests = 64
	// MaxBody is the length of the longest request body, in bytes. Linux accepts
	// argument lists of up to 6 MiB, and 2 MiB by default.
	MaxBody = 4 << 20
	// MaxResult is the length of the longest result, in bytes.
	MaxResult = 64 << 10
)
