//go:build !linux

// Package tty uses the terminal of this process. It does that on Linux only.
package tty

import "os"

// Save leaves it to other programs to restore the terminal.
func Save(*os.File) func() { return func() {} }

// Take does nothing: a program stops if it uses the terminal in the background.
func Take(*os.File) func() { return func() {} }

// A Terminal does not exist here.
type Terminal struct{}

// Open returns nil.
func Open(in, out *os.File) *Terminal { return nil }

// Size is not called.
func (*Terminal) Size() (rows, columns int) { return 0, 0 }

// Raw is not called.
func (*Terminal) Raw(func(rows, columns int)) (restore func(), err error) { return func() {}, nil }
