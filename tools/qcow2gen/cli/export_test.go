package cli

import (
	"errors"
	"os"
)

// NameTemporaryFiles makes outputs as on systems that have no files without a
// name, until the function that it returns is called.
func NameTemporaryFiles() (undo func()) {
	unnamed = func(string) (*os.File, error) { return nil, errors.ErrUnsupported }
	return func() { unnamed = createUnnamed }
}
