//go:build !unix

package qcow2

// allocated returns the number of bytes that the file system has allocated for
// the file. It is unknown on this system.
func (f *file) allocated() (bytes int64, ok bool) { return 0, false }
