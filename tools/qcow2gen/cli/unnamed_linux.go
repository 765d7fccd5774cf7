package cli

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// createUnnamed creates a file without a name in dir, with the permissions perm
// without the umask. Not every file system supports this.
func createUnnamed(dir string, perm os.FileMode) (*os.File, error) {
	const oTmpfile = 0x400000 | syscall.O_DIRECTORY // O_TMPFILE, missing from package syscall
	f, err := os.OpenFile(dir+".", os.O_RDWR|oTmpfile, perm)
	if err != nil {
		return nil, err
	}
	// Without /proc it cannot get a name later.
	if _, err := os.Lstat(descriptorPath(f)); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func descriptorPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// link gives an unnamed file a name that does not exist yet. os.Link would link
// to the symbolic link in /proc.
func link(f *os.File, name string) error {
	const (
		atFdcwd         = -0x64
		atSymlinkFollow = 0x400
	)
	from, err := syscall.BytePtrFromString(descriptorPath(f))
	if err != nil {
		return err
	}
	to, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	cwd := atFdcwd
	_, _, errno := syscall.Syscall6(syscall.SYS_LINKAT, uintptr(cwd), uintptr(unsafe.Pointer(from)), uintptr(cwd), uintptr(unsafe.Pointer(to)), atSymlinkFollow, 0)
	if errno != 0 {
		return &os.LinkError{Op: "linkat", Old: descriptorPath(f), New: name, Err: errno}
	}
	return nil
}
