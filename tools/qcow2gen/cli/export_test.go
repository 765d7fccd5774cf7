package cli

import (
	"errors"
	"os"
)

// NameTemporaryFiles gives temporary files names, as on systems without unnamed
// files, until the caller calls undo.
func NameTemporaryFiles() (undo func()) {
	unnamed = func(string, os.FileMode) (*os.File, error) { return nil, errors.ErrUnsupported }
	return func() { unnamed = createUnnamed }
}
