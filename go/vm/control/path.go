package control

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// withShortPath calls f with a path of a socket that is short enough for the system. On
// Linux, it leads to the socket's folder by a descriptor.
func withShortPath(socket string, f func(path string) error) error {
	if len(socket) <= maxSocketPath || runtime.GOOS != "linux" {
		return f(socket)
	}
	dir, err := os.Open(filepath.Dir(socket))
	if err != nil {
		return err
	}
	defer dir.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(socket)))
}
