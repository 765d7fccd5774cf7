//go:build !linux

package cli

import (
	"errors"
	"os"
)

// createUnnamed fails: only Linux has files without a name.
func createUnnamed(string, os.FileMode) (*os.File, error) { return nil, errors.ErrUnsupported }

func link(*os.File, string) error { return errors.ErrUnsupported }
