package main

import (
	"io"
	"os"

	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
	"github.com/rules-qcow2/rules_qcow2/go/vm/control"
	"github.com/rules-qcow2/rules_qcow2/internal/tty"
)

// useTerminal gives the command of a Request.Shell a terminal if this program has one. The
// result gives the terminal back its settings.
func useTerminal(request *control.Request, files *[3]*os.File) (restore func(), err error) {
	terminal := tty.Open(os.Stdin, os.Stdout)
	if terminal == nil {
		return func() {}, nil
	}
	// The process of the machine may not read from this terminal if it is in the
	// background of it.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	// The newest size replaces one that was not sent yet.
	sizes := make(chan agent.Terminal, 1)
	restoreTerminal, err := terminal.Raw(func(rows, columns int) {
		select {
		case <-sizes:
		default:
		}
		sizes <- agent.Terminal{Rows: rows, Columns: columns}
	})
	if err != nil {
		return nil, err
	}
	go func() {
		io.Copy(w, os.Stdin)
		w.Close()
	}()
	rows, columns := terminal.Size()
	request.Shell.Terminal = &agent.Terminal{Rows: rows, Columns: columns}
	request.Shell.Env = append([][]byte{[]byte("TERM=" + os.Getenv("TERM"))}, request.Shell.Env...)
	request.Sizes = sizes
	files[0] = r
	return restoreTerminal, nil
}
