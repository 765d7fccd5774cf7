package tree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rules-qcow2/rules_qcow2/internal/sparse"
)

const filepathSeparator = filepath.Separator

// PackOptions change the files that Pack sends.
type PackOptions struct {
	// FollowLinks sends the targets of symbolic links instead of the links: for
	// trees of links such as Bazel's runfiles.
	FollowLinks bool
	// FollowLinksOut sends the target of a symbolic link if that is outside of the
	// directory at path: the folders of runfiles consist of such links. Other links are
	// sent as links, relative to their directory, so that they hold in the copy. A link
	// to nothing is sent as it is.
	FollowLinksOut bool
	// FileMode replaces the permissions of all files that are not directories, and
	// directories get 0755, unless it is 0: for files whose permissions mean
	// nothing, such as the outputs of a build.
	FileMode fs.FileMode
	// Link returns, for a file, the path of one with the same content that the
	// destination has already, relative to the destination; "" if there is none. A hard
	// link is sent instead of the file.
	Link func(path string, info fs.FileInfo) (string, error)
}

// Pack writes the file or directory at path to w. If path itself is a symbolic
// link, it is followed, as by cp -H. A file that disappears while its directory is
// read is left out.
func Pack(w io.Writer, path string, opts PackOptions) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	p := packer{encoder: encoder{w: w}, opts: opts, linked: make(map[fileID]string), top: path}
	return p.add(path, "", "", 0)
}

// PackFS writes fsys, which may lack owners, links and holes, to w.
func PackFS(w io.Writer, fsys fs.FS) error {
	p := packer{encoder: encoder{w: w}, fsys: fsys, linked: make(map[fileID]string)}
	return p.add(".", "", "", 0)
}

// PackFiles writes a directory that has the files and directories of files: by their slash-separated
// paths in it, the paths of what Pack sends with FollowLinks. A path that ends in a slash is a
// directory, which may have nothing else in it.
func PackFiles(w io.Writer, files map[string]string, opts PackOptions) error {
	opts.FollowLinks = true
	p := packer{encoder: encoder{w: w}, opts: opts, linked: make(map[fileID]string)}
	dir := entry{kind: kindDir, perm: 0o755, mtime: time.Now()}
	if err := p.entry(dir); err != nil {
		return err
	}
	var open []string // the directories that were entered and not left
	for _, name := range slices.Sorted(maps.Keys(files)) {
		elements := strings.Split(name, "/")
		parents, base := elements[:len(elements)-1], elements[len(elements)-1]
		same := 0
		for same < min(len(open), len(parents)) && open[same] == parents[same] {
			same++
		}
		for range open[same:] {
			if err := p.up(); err != nil {
				return err
			}
		}
		for _, parent := range parents[same:] {
			dir.name = parent
			if err := p.entry(dir); err != nil {
				return err
			}
		}
		open = parents
		if base == "" {
			continue
		}
		if err := p.add(files[name], base, name, len(parents)+1); err != nil {
			return err
		}
	}
	for range len(open) + 1 {
		if err := p.up(); err != nil {
			return err
		}
	}
	return nil
}

// fileID identifies a file that has several names.
type fileID struct{ dev, ino uint64 }

type packer struct {
	encoder
	opts   PackOptions
	fsys   fs.FS             // nil: the system's files
	linked map[fileID]string // where in the stream a file with several names came first
	room   []byte            // for data, with space for a record's header
	top    string            // the directory that is sent, or one that a link leads to, without links
}

// add sends the file at path. In the stream it is called name, and inside is its
// path from the top.
func (p *packer) add(path, name, inside string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: more than %d directories within directories", path, maxDepth)
	}
	info, err := p.stat(path)
	if err != nil {
		return err
	}
	n := entry{name: name, perm: fromMode(p.mode(info)), mtime: info.ModTime()}
	sys := systemOf(info)
	n.uid, n.gid = sys.uid, sys.gid
	switch mode := info.Mode(); mode.Type() {
	case fs.ModeDir:
		n.kind = kindDir
		return p.dir(path, inside, n, depth)
	case 0:
		n.kind = kindFile
		if p.opts.Link != nil {
			if n.target, err = p.opts.Link(path, info); err != nil {
				return err
			}
			if n.target != "" {
				n.kind = kindLink
				return p.entry(n)
			}
		}
		if sys.links > 1 && p.fsys == nil {
			if first, ok := p.linked[sys.id]; ok {
				n.kind, n.target = kindLink, first
				return p.entry(n)
			}
			p.linked[sys.id] = inside
		}
		return p.file(path, n, info.Size(), sys.dense)
	case fs.ModeSymlink:
		if p.opts.FollowLinksOut {
			to, within, err := p.resolve(path)
			switch {
			case err != nil:
				return err
			case to != "" && !within:
				return p.followOut(to, name, inside, depth)
			case to != "":
				n.target = to
			}
		}
		n.kind = kindSymlink
		if n.target == "" {
			if n.target, err = os.Readlink(path); err != nil {
				return err
			}
		}
		if len(n.target) > maxTarget {
			return fmt.Errorf("%s: symbolic link to %d bytes, the limit is %d", path, len(n.target), maxTarget)
		}
	case fs.ModeNamedPipe:
		n.kind = kindFIFO
	case fs.ModeDevice | fs.ModeCharDevice:
		n.kind, n.major, n.minor = kindChar, sys.major, sys.minor
	case fs.ModeDevice:
		n.kind, n.major, n.minor = kindBlock, sys.major, sys.minor
	case fs.ModeSocket:
		if name != "" {
			return nil
		}
		fallthrough
	default:
		return fmt.Errorf("%s: cannot copy a file of type %s", path, mode.Type())
	}
	return p.entry(n)
}

// resolve returns where a symbolic link leads: to a path without links outside of
// p.top, or, inside it, to a path relative to the link's directory. to is "" if the link
// leads to nothing.
func (p *packer) resolve(path string) (to string, inside bool, err error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", false, nil
	}
	if real != p.top && !strings.HasPrefix(real, strings.TrimSuffix(p.top, "/")+"/") {
		if p.top == real || strings.HasPrefix(p.top, strings.TrimSuffix(real, "/")+"/") {
			return "", false, fmt.Errorf("%s: symbolic link to %s, which contains it", path, real)
		}
		return real, false, nil
	}
	target, err := os.Readlink(path)
	if err != nil || !filepath.IsAbs(target) {
		return target, true, err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", false, err
	}
	to, err = filepath.Rel(dir, real)
	return to, true, err
}

// followOut sends the file or directory that a link leads to in the place of the link.
func (p *packer) followOut(to, name, inside string, depth int) error {
	top := p.top
	p.top = to
	defer func() { p.top = top }()
	return p.add(to, name, inside, depth)
}

// mode returns the mode that is sent for a file.
func (p *packer) mode(info fs.FileInfo) fs.FileMode {
	switch mode := p.opts.FileMode; {
	case mode == 0 || info.Mode().Type() == fs.ModeSymlink:
		return info.Mode()
	case info.IsDir():
		return fs.ModeDir | 0o755
	default:
		return info.Mode().Type() | mode
	}
}

func (p *packer) stat(path string) (fs.FileInfo, error) {
	switch {
	case p.fsys != nil:
		return fs.Stat(p.fsys, path)
	case p.opts.FollowLinks:
		info, err := os.Stat(path)
		if errors.Is(err, errGone) {
			if _, lerr := os.Lstat(path); lerr == nil {
				err = fmt.Errorf("%s: symbolic link to a file that does not exist", path)
			}
		}
		return info, err
	}
	return os.Lstat(path)
}

func (p *packer) dir(path, inside string, n entry, depth int) error {
	names, err := p.list(path)
	if err != nil {
		return err
	}
	if err := p.entry(n); err != nil {
		return err
	}
	for _, name := range names {
		if len(name) > maxName {
			return fmt.Errorf("%s: name is %d bytes long, the limit is %d", path, len(name), maxName)
		}
		below := name
		if inside != "" {
			below = inside + "/" + name
		}
		child := filepath.Join(path, name)
		if p.fsys != nil {
			child = name
			if path != "." {
				child = path + "/" + name
			}
		}
		err := p.add(child, name, below, depth+1)
		if errors.Is(err, errGone) {
			continue
		}
		if err != nil {
			return err
		}
	}
	return p.up()
}

func (p *packer) list(path string) ([]string, error) {
	var entries []fs.DirEntry
	var err error
	if p.fsys != nil {
		entries, err = fs.ReadDir(p.fsys, path)
	} else {
		entries, err = os.ReadDir(path)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// errGone matches the errors of files that disappeared since their directory was
// read. It is checked only where nothing of the file was sent.
var errGone = fs.ErrNotExist

// file sends a regular file of length bytes: its entry, its data, its size. A dense one
// is sent to its end, wherever that is.
func (p *packer) file(path string, n entry, length int64, dense bool) error {
	var f fs.File
	var err error
	if p.fsys != nil {
		f, err = p.fsys.Open(path)
	} else {
		f, err = os.Open(path)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := p.entry(n); err != nil {
		return err
	}
	if p.room == nil {
		p.room = make([]byte, dataHeader+128<<10)
	}
	var size int64
	if file, ok := f.(*os.File); ok && !dense {
		size, err = p.sparse(file, length)
	} else {
		size, err = p.stretch(f, 0, 1<<63-1)
	}
	if err != nil {
		return err
	}
	return p.end(size)
}

// stretch sends the bytes of r up to limit as the file's bytes from offset. It
// returns the offset after them.
func (p *packer) stretch(r io.Reader, offset, limit int64) (int64, error) {
	for offset < limit {
		room := p.room
		if left := limit - offset; left < int64(len(room)-dataHeader) {
			room = room[:dataHeader+left]
		}
		n, err := r.Read(room[dataHeader:])
		if n > 0 {
			if err := p.data(offset, room[:dataHeader+n]); err != nil {
				return offset, err
			}
			offset += int64(n)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return offset, err
		}
	}
	return offset, nil
}

// sparse sends the data of f, which is size bytes long, and skips its holes.
func (p *packer) sparse(f *os.File, size int64) (int64, error) {
	for offset := int64(0); offset < size; {
		data, hole, err := sparse.NextData(f, offset, size)
		if err != nil {
			return 0, err
		}
		if _, err := f.Seek(data, io.SeekStart); err != nil {
			return 0, err
		}
		if hole = min(hole, size); data >= hole {
			break // a hole up to the end
		}
		if offset, err = p.stretch(f, data, hole); err != nil {
			return 0, err
		}
		if offset < hole {
			// The file became shorter, or its size means nothing, as in sysfs.
			return offset, nil
		}
	}
	return size, nil
}
