//go:build !unix

package cli

import "os"

// allocatedSize returns the length of a file in bytes, because the system does not
// report its disk usage.
func allocatedSize(info os.FileInfo) uint64 { return uint64(info.Size()) }
