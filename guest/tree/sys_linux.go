package tree

import (
	"io/fs"
	"path/filepath"
	"syscall"
	"time"
	"unsafe"
)

// system has the properties of a file that only the operating system's FileInfo has.
type system struct {
	uid, gid     uint32
	links        uint64
	id           fileID
	major, minor uint32
	dense        bool // the file has no holes; also if its size is 0, which may mean nothing
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
		dense: st.Blocks*512 >= st.Size,
	}
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
		cwd      = -100  // AT_FDCWD
		noFollow = 0x100 // AT_SYMLINK_NOFOLLOW
	)
	p, err := syscall.BytePtrFromString(path)
	if err != nil {
		return err
	}
	times, dir := modified(mtime), cwd
	_, _, errno := syscall.Syscall6(syscall.SYS_UTIMENSAT, uintptr(dir), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&times)), noFollow, 0, 0)
	if errno != 0 {
		return &fs.PathError{Op: "utimensat", Path: path, Err: errno}
	}
	return nil
}

// modified returns the times of utimensat that set the time of modification only.
func modified(mtime time.Time) [2]syscall.Timespec {
	const omit = 1<<30 - 2 // UTIME_OMIT
	return [2]syscall.Timespec{{Nsec: omit}, syscall.NsecToTimespec(mtime.UnixNano())}
}

// A newFile is a file to write. os.File would ask the kernel five times whether it can be
// polled, for each of thousands of files.
type newFile struct {
	fd       int
	path     string
	inMemory bool // its file system is in memory
}

// isInMemory reports whether the file system of a directory is in memory.
func isInMemory(dir int) bool {
	const tmpfs, ramfs = 0x01021994, 0x858458f6
	var st syscall.Statfs_t
	if err := syscall.Fstatfs(dir, &st); err != nil {
		return false
	}
	return uint32(st.Type) == tmpfs || uint32(st.Type) == ramfs
}

// call makes a system call for the file. Go's scheduler does not hear of calls for files in
// memory, which do not wait. It would give the processor to another thread after 20 µs, and
// most calls take longer in an emulated guest: that was a third of the time of a copy.
//
//go:uintptrescapes
func (f newFile) call(trap, a1, a2, a3, a4 uintptr) (uintptr, error) {
	for {
		var r uintptr
		var errno syscall.Errno
		if f.inMemory {
			r, _, errno = syscall.RawSyscall6(trap, a1, a2, a3, a4, 0, 0)
		} else {
			r, _, errno = syscall.Syscall6(trap, a1, a2, a3, a4, 0, 0)
		}
		switch errno {
		case 0:
			return r, nil
		case syscall.EINTR:
			if trap == syscall.SYS_CLOSE { // it is closed
				return r, nil
			}
		default:
			return r, errno
		}
	}
}

// createFile makes a file that does not exist yet.
func createFile(parent *level, name string, perm uint32) (newFile, error) {
	f := newFile{path: filepath.Join(parent.path, name)}
	if parent.dir == nil {
		dir, err := parent.root.Open(".")
		if err != nil {
			return f, err
		}
		parent.dir, parent.inMemory = dir, isInMemory(int(dir.Fd()))
	}
	f.inMemory = parent.inMemory
	p, err := syscall.BytePtrFromString(name)
	if err == nil {
		const flags = syscall.O_WRONLY | syscall.O_CREAT | syscall.O_EXCL | syscall.O_NOFOLLOW | syscall.O_CLOEXEC | syscall.O_LARGEFILE
		var fd uintptr
		fd, err = f.call(syscall.SYS_OPENAT, parent.dir.Fd(), uintptr(unsafe.Pointer(p)), flags, uintptr(perm))
		f.fd = int(fd)
	}
	return f, f.wrap("create", err)
}

// retry calls f again if a signal interrupted it.
func retry(f func() error) error {
	for {
		if err := f(); err != syscall.EINTR {
			return err
		}
	}
}

func (f newFile) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: f.path, Err: err}
}

// WriteAt implements io.WriterAt.
func (f newFile) WriteAt(b []byte, offset int64) (done int, err error) {
	for done < len(b) {
		n, err := f.call(syscall.SYS_PWRITE64, uintptr(f.fd), uintptr(unsafe.Pointer(&b[done])), uintptr(len(b)-done), uintptr(offset+int64(done)))
		if err != nil {
			return done, f.wrap("write", err)
		}
		done += int(n)
	}
	return done, nil
}

func (f newFile) Truncate(size int64) error {
	return f.wrap("truncate", retry(func() error { return syscall.Ftruncate(f.fd, size) }))
}

func (f newFile) Chown(uid, gid int) error {
	return f.wrap("chown", retry(func() error { return syscall.Fchown(f.fd, uid, gid) }))
}

func (f newFile) Chmod(mode fs.FileMode) error {
	return f.wrap("chmod", retry(func() error { return syscall.Fchmod(f.fd, fromMode(mode)) }))
}

// mode returns chmod's 12 bits.
func (f newFile) mode() (uint32, error) {
	var st syscall.Stat_t
	err := retry(func() error { return syscall.Fstat(f.fd, &st) })
	return st.Mode & 0o7777, f.wrap("stat", err)
}

func (f newFile) setTime(mtime time.Time) error {
	times := modified(mtime)
	_, err := f.call(syscall.SYS_UTIMENSAT, uintptr(f.fd), 0, uintptr(unsafe.Pointer(&times)), 0)
	return f.wrap("utimensat", err)
}

func (f newFile) Close() error {
	_, err := f.call(syscall.SYS_CLOSE, uintptr(f.fd), 0, 0, 0)
	return f.wrap("close", err)
}
