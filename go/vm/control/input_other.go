//go:build !linux

package control

import "os"

// waitReadable does not wait: package syscall does not have a portable poll. A read that
// waits when the command ends takes what comes next.
func waitReadable(file, stopped *os.File) bool { return true }
