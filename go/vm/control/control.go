// Package control lets other processes use a running machine: a server in the
// process that runs the machine, and a client for the program vm.
//
// They talk over a Unix socket. The client passes its standard files with the
// request, so that the output of a command in the guest does not pass through
// the socket. A client that closes its connection cancels its request. After the request,
// it may send sizes of its terminal.
package control

import (
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
)

// SocketVariable is the environment variable with the path of a machine's
// socket.
const SocketVariable = "VM_SOCKET"

// A Request asks for one thing. Exactly one field that is not a parameter of
// another is set.
type Request struct {
	Exec       *Exec   `json:"exec,omitempty"`
	Shell      *Exec   `json:"shell,omitempty"` // as Exec, with the server's Shell for what it does not set
	Copy       *Copy   `json:"copy,omitempty"`
	WaitFor    *Exec   `json:"wait_for,omitempty"` // repeated until it succeeds
	Expect     *Expect `json:"expect,omitempty"`
	Wait       *Wait   `json:"wait,omitempty"`
	Forward    int     `json:"forward,omitempty"`    // TCP port of the guest
	Screenshot string  `json:"screenshot,omitempty"` // absolute path of a PNG file
	PowerOff   bool    `json:"power_off,omitempty"`
	Reboot     bool    `json:"reboot,omitempty"`
	Reset      bool    `json:"reset,omitempty"`
	Stop       bool    `json:"stop,omitempty"`
	Ports      bool    `json:"ports,omitempty"`

	// Sizes are changes of the size of a command's terminal.
	Sizes <-chan agent.Terminal `json:"-"`
}

// Exec is a command in the guest. Arguments may have any bytes. Without arguments, it is
// the shell of the user.
type Exec struct {
	Args  [][]byte      `json:"args"`
	Env   [][]byte      `json:"env,omitempty"`
	Dir   string        `json:"dir,omitempty"`
	User  string        `json:"user,omitempty"`
	Limit time.Duration `json:"limit,omitempty"` // 0 for none

	// Terminal gives the command a terminal. The client copies its own terminal to the
	// standard input that it passes.
	Terminal *agent.Terminal `json:"terminal,omitempty"`
}

// Copy copies a file or directory between the host and the guest.
type Copy struct {
	From    string `json:"from"`
	To      string `json:"to"`
	ToGuest bool   `json:"to_guest"`
	// Into makes the copy in To, under its name in From, if To is a directory.
	Into bool `json:"into,omitempty"`
}

// Expect waits for patterns on the console.
type Expect struct {
	Patterns []string      `json:"patterns"`
	Limit    time.Duration `json:"limit,omitempty"` // 0 for none
}

// Wait waits for one thing in the guest: exactly one of Unit, Port and File is set.
type Wait struct {
	Unit  string        `json:"unit,omitempty"`
	Port  int           `json:"port,omitempty"`
	File  string        `json:"file,omitempty"`
	Limit time.Duration `json:"limit,omitempty"` // 0 for none
}

// A Response ends a request.
type Response struct {
	Error      string            `json:"error,omitempty"`
	ExitStatus int               `json:"exit_status"`      // of a command
	Signal     int               `json:"signal,omitempty"` // that ended the command; 0 for none
	Ports      map[string]string `json:"ports,omitempty"`
	Address    string            `json:"address,omitempty"` // of the host, for Forward
}
