package vm

import (
	"errors"
	"os"

	"github.com/rules-qcow2/rules_qcow2/internal/sparse"
)

// sparseCopy copies a file to another, which may exist but must be empty. Pages of
// zeros become holes.
func sparseCopy(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	return errors.Join(sparse.Copy(out, in), out.Close())
}
