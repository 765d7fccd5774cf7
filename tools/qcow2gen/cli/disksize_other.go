//go:build !unix

package cli

import "os"

// allocatedSize returns the length of a file in bytes, where the system does
// not say what it takes on disk.
func allocatedSize(info os.FileInfo) uint64 { return uint64(info.Size()) }
