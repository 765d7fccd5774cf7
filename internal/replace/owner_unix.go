//go:build unix

package replace

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// copyOwner gives f the owner and the group in want.
func copyOwner(f *os.File, want os.FileInfo) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	from, ok := want.Sys().(*syscall.Stat_t)
	to, known := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !known:
		return errors.New("its owner is unknown")
	case from.Nlink > 1:
		return fmt.Errorf("it has %d hard links", from.Nlink)
	case from.Uid == to.Uid && from.Gid == to.Gid:
		return nil
	}
	return f.Chown(int(from.Uid), int(from.Gid))
}
