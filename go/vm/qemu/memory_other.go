//go:build !linux

package qemu

import (
	"errors"
	"os"
)

func MemoryFile() (*os.File, string, error) { return nil, "", errors.ErrUnsupported }
