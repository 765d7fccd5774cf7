//go:build unix

package cli

import (
	"os"
	"syscall"
)

// allocatedSize returns the number of bytes that a file takes on disk, without
// holes.
func allocatedSize(info os.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Blocks) * 512 // st_blocks is in units of 512 bytes
	}
	return uint64(info.Size())
}
