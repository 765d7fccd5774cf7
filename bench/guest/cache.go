package guest

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// A state says where the data of files is before a run: in the page cache or not.
type state struct {
	name    string
	prepare func(paths ...string) error
}

var states = []state{
	{"in page cache", warm},
	{"cold", cold},
}

// warm reads the files, and waits until new data is on disk: a run must not pay
// for the copy before it.
func warm(paths ...string) error {
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		if err = f.Sync(); err == nil {
			_, err = io.Copy(struct{ io.Writer }{io.Discard}, f)
		}
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// cold drops the files from the page cache. Unlike /proc/sys/vm/drop_caches, this
// needs no privileges. Caches below this kernel keep their data.
func cold(paths ...string) error {
	for _, path := range paths {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		// Only data that was written back can be dropped.
		err = f.Sync()
		if err == nil {
			const posixFadvDontneed = 4
			if _, _, errno := syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, posixFadvDontneed, 0, 0); errno != 0 {
				err = fmt.Errorf("%s: posix_fadvise: %w", path, errno)
			}
		}
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
