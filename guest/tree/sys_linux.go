package tree

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// system is what only the operating system's form of a FileInfo has.
type system struct {
	uid, gid     uint32
	links        uint64
	id           fileID
	major, minor uint32
}

func systemOf(info fs.FileInfo) system {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return system{}
	}
	return system{
		uid: st.Uid, gid: st.Gid,
		links: uint64(st.Nlink),
		id:    fileID{uint64(st.Dev), st.Ino},
		// As glibc's major and minor.
		major: uint32(st.Rdev>>8&0xfff | st.Rdev>>32&^0xfff),
		minor: uint32(st.Rdev&0xff | st.Rdev>>12&^0xff),
	}
}

// nextData returns the first stretch of data at or after offset; data is -1 if
// only a hole or the end of the file follows.
func nextData(f *os.File, offset int64) (data, hole int64, err error) {
	const seekData, seekHole = 3, 4
	data, err = f.Seek(offset, seekData)
	switch {
	case errors.Is(err, syscall.ENXIO):
		return -1, 0, nil
	case err != nil && offset == 0:
		return 0, 0, errors.ErrUnsupported
	case err != nil:
		return 0, 0, err
	}
	if info, err := f.Stat(); err == nil && info.Size() == 0 {
		// procfs accepts the call but has data where the size says there is none.
		return 0, 0, errors.ErrUnsupported
	}
	hole, err = f.Seek(data, seekHole)
	return data, hole, err
}

func makeFIFO(path string, perm uint32) error {
	return syscall.Mkfifo(path, perm)
}

func makeDevice(path string, n entry) error {
	mode := n.perm | syscall.S_IFCHR
	if n.kind == kindBlock {
		mode = n.perm | syscall.S_IFBLK
	}
	major, minor := uint64(n.major), uint64(n.minor)
	dev := major&0xfff<<8 | major&^0xfff<<32 | minor&0xff | minor&^0xff<<12
	return syscall.Mknod(path, mode, int(dev))
}

// setTime sets the modification time of the file itself, also of a symbolic link.
func setTime(path string, mtime time.Time) error {
	const (
		omit     = 1<<30 - 2 // UTIME_OMIT
		noFollow = 0x100     // AT_SYMLINK_NOFOLLOW
	)
	p, err := syscall.BytePtrFromString(path)
	if err != nil {
		return err
	}
	times := [2]syscall.Timespec{{Nsec: omit}, syscall.NsecToTimespec(mtime.UnixNano())}
	cwd := -100 // AT_FDCWD
	_, _, errno := syscall.Syscall6(syscall.SYS_UTIMENSAT, uintptr(cwd), uintptr(unsafe.Pointer(p)),
		uintptr(unsafe.Pointer(&times)), noFollow, 0, 0)
	if errno != 0 {
		return &fs.PathError{Op: "utimensat", Path: path, Err: errno}
	}
	return nil
}
