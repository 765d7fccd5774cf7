//go:build !linux

package vm

import (
	"errors"
	"os"
)

func memoryFile() (*os.File, string, error) { return nil, "", errors.ErrUnsupported }
