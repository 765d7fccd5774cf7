//go:build !linux

package vm

import "os"

// saveTerminal leaves it to QEMU to restore the terminal.
func saveTerminal(*os.File) func() { return func() {} }
