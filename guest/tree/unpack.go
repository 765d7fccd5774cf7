package tree

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// UnpackOptions limit and change the files that Unpack makes.
type UnpackOptions struct {
	// KeepOwner applies the owners in the stream, and the set-user-ID and
	// set-group-ID bits that have a meaning only with them. It needs root.
	// Otherwise all files belong to the caller.
	KeepOwner bool
	// Into is the name of the copy if path is a directory: the copy is then in it, as
	// with cp. If it is "", path is the name of the copy.
	Into string
	// WritableDirs gives the caller all permissions for directories that are made, so
	// that the copy can be removed or replaced.
	WritableDirs bool
	// Devices allows device files.
	Devices bool
	// MaxBytes is the limit for the content of all files, without holes. 0 means
	// no limit.
	MaxBytes int64
	// MaxSize is the limit for the sum of the sizes of all files, with holes. 0 means no
	// limit.
	MaxSize int64
	// MaxEntries is the limit for the number of files. 0 means no limit.
	MaxEntries int64
}

// Unpack makes the file or directory in the stream r at path, and missing directories on
// the way. Files that exist are replaced; symbolic links that exist are replaced,
// not followed. A directory that exists keeps its permissions, owner, and what the
// stream does not mention.
//
// It writes nothing outside path, whatever the stream says. The destination must
// not be writable by others whom the caller does not trust.
func Unpack(r io.Reader, path string, opts UnpackOptions) error {
	u := unpacker{decoder: decoder{r: bufio.NewReaderSize(r, 64<<10)}, opts: opts}
	defer u.close()
	err := u.all(path)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// level is a directory that the stream entered and did not leave.
type level struct {
	root  *os.Root
	dir   *os.File // the same, if a file was made there
	path  string
	entry entry
	made  bool // by us: its permissions and times come when it is left

	inMemory bool // the file system of dir is in memory
}

func (l *level) close() {
	if l.dir != nil {
		l.dir.Close()
	}
	l.root.Close()
}

type unpacker struct {
	decoder
	opts    UnpackOptions
	top     string
	levels  []level
	bytes   int64 // without holes
	size    int64 // with holes
	entries int64
	exact   map[uint32]bool // see survives
}

func (u *unpacker) close() {
	for i := range u.levels {
		u.levels[i].close()
	}
}

func (u *unpacker) all(path string) error {
	kind, err := u.kind()
	if err != nil {
		return err
	}
	n, err := u.entry(kind)
	if err != nil {
		return err
	}
	if n.name != "" || n.kind == kindLink {
		return malformed("begins with %q", n.name)
	}
	// The top gets its name here, in a directory that the stream does not know.
	info, statErr := os.Stat(path)
	switch isDir := statErr == nil && info.IsDir(); {
	case isDir && u.opts.Into != "":
		if err := checkName(u.opts.Into); err != nil {
			return err
		}
		path = filepath.Join(path, u.opts.Into)
	case !isDir && strings.HasSuffix(path, "/"):
		return fmt.Errorf("%s is not a directory that exists; make it, or leave the slash out", path)
	}
	path = filepath.Clean(path)
	parent := filepath.Dir(path)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return err
	}
	if n.kind == kindDir {
		err = u.enterTop(path, n)
	} else {
		root, err := os.OpenRoot(parent)
		if err != nil {
			return err
		}
		defer root.Close()
		n.name = filepath.Base(path)
		l := &level{root: root, path: parent}
		defer func() {
			if l.dir != nil {
				l.dir.Close()
			}
		}()
		if err := u.make(l, n); err != nil {
			return err
		}
	}
	for err == nil && len(u.levels) > 0 {
		err = u.next()
	}
	if err != nil {
		return err
	}
	if _, err := u.kind(); err != io.EOF {
		if err == nil {
			err = malformed("continues after its end")
		}
		return err
	}
	return nil
}

// next handles one record within a directory.
func (u *unpacker) next() error {
	kind, err := u.kind()
	if err != nil {
		return err
	}
	if kind == kindUp {
		return u.leave()
	}
	n, err := u.entry(kind)
	if err != nil {
		return err
	}
	if err := checkName(n.name); err != nil {
		return err
	}
	if u.entries++; u.opts.MaxEntries > 0 && u.entries > u.opts.MaxEntries {
		return fmt.Errorf("the copy has more than %d files", u.opts.MaxEntries)
	}
	parent := &u.levels[len(u.levels)-1]
	if kind == kindDir {
		return u.enter(parent, n)
	}
	return u.make(parent, n)
}

func (u *unpacker) enterTop(path string, n entry) error {
	made := true
	err := os.Mkdir(path, 0o700)
	if errors.Is(err, fs.ErrExist) {
		made, err = false, nil
	}
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	u.top = path
	u.levels = append(u.levels, level{root: root, path: path, entry: n, made: made})
	return nil
}

func (u *unpacker) enter(parent *level, n entry) error {
	path := filepath.Join(parent.path, n.name)
	if len(u.levels) >= maxDepth {
		return fmt.Errorf("%s: more than %d directories within directories", path, maxDepth)
	}
	made := true
	err := parent.root.Mkdir(n.name, 0o700)
	if errors.Is(err, fs.ErrExist) {
		made = false
		// A symbolic link to a directory is not entered: it may lead outside.
		var info fs.FileInfo
		if info, err = parent.root.Lstat(n.name); err == nil && !info.IsDir() {
			err = fmt.Errorf("%s exists and is not a directory", path)
		}
	}
	if err != nil {
		return err
	}
	root, err := parent.root.OpenRoot(n.name)
	if err != nil {
		return err
	}
	u.levels = append(u.levels, level{root: root, path: path, entry: n, made: made})
	return nil
}

// leave finishes the directory that was entered last.
func (u *unpacker) leave() error {
	l := u.levels[len(u.levels)-1]
	u.levels = u.levels[:len(u.levels)-1]
	defer l.close()
	if !l.made {
		return nil
	}
	dir, err := l.root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	if u.opts.WritableDirs {
		l.entry.perm |= 0o700
	}
	if err := u.apply(dir, l.entry); err != nil {
		return err
	}
	return setTime(l.path, l.entry.mtime)
}

// apply sets the owner and the permissions of an open file.
func (u *unpacker) apply(f interface {
	Chown(uid, gid int) error
	Chmod(mode fs.FileMode) error
}, n entry) error {
	perm := n.perm &^ 0o6000
	if u.opts.KeepOwner {
		perm = n.perm
		if err := f.Chown(int(n.uid), int(n.gid)); err != nil {
			return err
		}
	}
	// After chown, which clears set-user-ID.
	return f.Chmod(toMode(perm))
}

// make makes a file that is not a directory. Every directory in parent.path below the
// destination is one that Lstat saw as a directory, so the path has no symbolic link
// of the stream in it.
func (u *unpacker) make(parent *level, n entry) error {
	path := filepath.Join(parent.path, n.name)
	if n.kind != kindFile && !u.opts.Devices && (n.kind == kindChar || n.kind == kindBlock) {
		return fmt.Errorf("%s is a device file; copies to the host cannot have them", path)
	}
	if n.kind == kindFile {
		return u.file(parent, n)
	}
	err := remove(parent, n.name)
	if err != nil {
		return err
	}
	switch n.kind {
	case kindLink:
		return u.link(path, n)
	case kindSymlink:
		err = os.Symlink(n.target, path)
	case kindFIFO:
		err = makeFIFO(path, n.perm&0o777)
	default:
		err = makeDevice(path, n)
	}
	if err == nil && u.opts.KeepOwner {
		err = os.Lchown(path, int(n.uid), int(n.gid))
	}
	if err == nil && n.kind != kindSymlink {
		err = os.Chmod(path, toMode(n.perm&0o1777)) // without the umask
	}
	if err == nil {
		err = setTime(path, n.mtime)
	}
	if err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	return nil
}

// remove removes the file or directory in the place of a file that is not a directory.
func remove(parent *level, name string) error {
	if info, err := parent.root.Lstat(name); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a directory, and the copy is not; give the copy another name", filepath.Join(parent.path, name))
	}
	err := parent.root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// link makes a hard link to a file of the stream.
func (u *unpacker) link(path string, n entry) error {
	elements := strings.Split(n.target, "/")
	for i, name := range elements {
		if err := checkName(name); err != nil {
			return err
		}
		info, err := u.levels[0].root.Lstat(filepath.Join(elements[:i+1]...))
		if err != nil {
			return err
		}
		if i < len(elements)-1 && !info.IsDir() || i == len(elements)-1 && !info.Mode().IsRegular() {
			return malformed("hard link to %q, which is not a file of the copy", n.target)
		}
	}
	return os.Link(filepath.Join(u.top, filepath.Join(elements...)), path)
}

// file makes a regular file and reads the records of its content. Each call of the
// system counts: copies may have thousands of small files, and the guest may be emulated.
func (u *unpacker) file(parent *level, n entry) error {
	perm := uint32(0o600)
	if !u.opts.KeepOwner && n.perm&^0o777 == 0 {
		perm = n.perm
	}
	f, err := createFile(parent, n.name, perm)
	if errors.Is(err, fs.ErrExist) {
		if err = remove(parent, n.name); err == nil {
			f, err = createFile(parent, n.name, perm)
		}
	}
	if err != nil {
		return err
	}
	err = u.content(f)
	if err == nil && (perm != n.perm || !u.survives(f, perm)) {
		err = u.apply(f, n)
	}
	if err == nil {
		err = f.setTime(n.mtime)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// survives reports whether the umask leaves these permissions to a new file. f was made
// with them.
func (u *unpacker) survives(f newFile, perm uint32) bool {
	exact, known := u.exact[perm]
	if !known {
		got, err := f.mode()
		exact = err == nil && got == perm
		if u.exact == nil {
			u.exact = make(map[uint32]bool)
		}
		u.exact[perm] = exact
	}
	return exact
}

// checkSize fails if a file of that size makes the copy too large.
func (u *unpacker) checkSize(size int64) error {
	if u.opts.MaxSize > 0 && size > u.opts.MaxSize-u.size {
		return fmt.Errorf("the files of the copy take more than %d bytes with their holes", u.opts.MaxSize)
	}
	return nil
}

func (u *unpacker) content(f newFile) error {
	var end int64
	for {
		kind, err := u.kind()
		if err != nil {
			return err
		}
		offset, err := u.number(8)
		if err != nil {
			return err
		}
		if offset > maxOffset || int64(offset) < end {
			return malformed("offset %d after data up to %d", offset, end)
		}
		switch kind {
		case kindEnd:
			if err := u.checkSize(int64(offset)); err != nil {
				return err
			}
			u.size += int64(offset)
			if int64(offset) == end {
				return nil
			}
			return f.Truncate(int64(offset))
		case kindData:
		default:
			return malformed("unknown record %q in a file", kind)
		}
		length, err := u.number(4)
		if err != nil {
			return err
		}
		if length == 0 || length > maxSegment {
			return malformed("data of %d bytes", length)
		}
		if u.bytes += int64(length); u.opts.MaxBytes > 0 && u.bytes > u.opts.MaxBytes {
			return fmt.Errorf("the copy has more than %d bytes", u.opts.MaxBytes)
		}
		end = int64(offset + length)
		if err := u.checkSize(end); err != nil {
			return err
		}
		for at := int64(offset); at < end; {
			// Write from the reader's buffer: what it has, or what it gets next.
			if _, err := u.r.Peek(1); err != nil {
				return noEOF(err)
			}
			b, _ := u.r.Peek(int(min(int64(u.r.Buffered()), end-at)))
			if _, err := f.WriteAt(b, at); err != nil {
				return err
			}
			u.r.Discard(len(b))
			at += int64(len(b))
		}
	}
}
