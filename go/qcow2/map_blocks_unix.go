//go:build unix

package qcow2

import "syscall"

// allocated returns the number of bytes that the file system has allocated for
// the file.
func (f *file) allocated() (bytes int64, ok bool) {
	if f.os == nil {
		return 0, false
	}
	info, err := f.os.Stat()
	if err != nil {
		return 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return stat.Blocks * 512, true // st_blocks counts units of 512 bytes
}
