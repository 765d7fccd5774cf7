//go:build !linux

package cli

import (
	"errors"
	"os"
)

// createUnnamed is for systems that have files without a name.
func createUnnamed(string) (*os.File, error) { return nil, errors.ErrUnsupported }

func link(*os.File, string) error { return errors.ErrUnsupported }
