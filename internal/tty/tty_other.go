//go:build !linux

package qemu

import "os"

// saveTerminal leaves it to QEMU to restore the terminal.
func saveTerminal(*os.File) func() { return func() {} }

// takeTerminal does nothing: QEMU stops if this process is in the background.
func takeTerminal(*os.File) func() { return func() {} }
