//go:build unix

package qcow2

import (
	"os"
	"syscall"
)

// copyOwner gives f the owner in info. Only root may do so.
func copyOwner(f *os.File, info os.FileInfo) {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		f.Chown(int(stat.Uid), int(stat.Gid))
	}
}
