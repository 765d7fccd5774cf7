package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
	"github.com/rules-qcow2/rules_qcow2/guest/tree"
)

// MaxReadFile is the size in bytes of the largest file that ReadFile returns.
const MaxReadFile = 64 << 20

// Limits of CopyFrom: what a guest may put on the host's disk.
const (
	DefaultMaxBytes = 16 << 30
	DefaultMaxFiles = 1 << 20
)

// ReadFile returns the content of a file in the guest: up to MaxReadFile bytes.
// The path must be absolute.
func (c *Client) ReadFile(ctx context.Context, name string) ([]byte, error) {
	k, err := c.open(ctx, protocol.OpRead, &protocol.File{Path: name})
	if err != nil {
		return nil, err
	}
	content, readErr := io.ReadAll(io.LimitReader(k.Reader(protocol.Data), MaxReadFile+1))
	if len(content) > MaxReadFile {
		readErr = fmt.Errorf("%s in the guest is larger than %d bytes; use CopyFrom", name, MaxReadFile)
		k.abort(readErr)
	}
	err = k.result(nil)
	if readErr != nil && k.ctx.Err() == nil {
		err = readErr
	}
	if err != nil {
		return nil, err
	}
	return content, nil
}

// WriteFile writes a file in the guest, as os.WriteFile does: it follows symbolic
// links, and perm (before the agent's umask, 022 as a rule) applies only if the
// file does not exist.
func (c *Client) WriteFile(ctx context.Context, name string, content []byte, perm fs.FileMode) error {
	k, err := c.open(ctx, protocol.OpWrite, &protocol.File{Path: name, Mode: uint32(perm.Perm())})
	if err != nil {
		return err
	}
	w := k.Writer(protocol.Data)
	// If the agent ends the request before it has all, its result says why.
	if _, err := w.Write(content); err == nil {
		w.Close()
	}
	return k.result(nil)
}

// CopyOptions change what CopyTo and CopyFrom do.
type CopyOptions struct {
	// Into makes the copy in dst, under the name of src, if dst is a directory that
	// exists, as cp does. Otherwise dst is the name of the copy.
	Into bool
	// FollowLinks copies what symbolic links point to instead of the links.
	FollowLinks bool
	// KeepOwner keeps owners and groups, by number, and the set-user-ID and
	// set-group-ID bits. Without it, copies belong to root in the guest, and to the
	// caller on the host. CopyFrom needs root for it.
	KeepOwner bool
	// FileMode is the permissions of the files of CopyTo, instead of their own.
	// Directories then have 0755. 0 keeps all permissions.
	FileMode fs.FileMode
	// Link returns, for a file of CopyTo, the path of one with the same content that is
	// below dst in the guest already, relative to dst; "" if there is none. The copy is
	// then a hard link to it, with its permissions.
	Link func(path string, info fs.FileInfo) (string, error)
	// MaxBytes and MaxFiles are the limits for what CopyFrom takes from a guest. 0
	// means DefaultMaxBytes and DefaultMaxFiles.
	MaxBytes, MaxFiles int64
	// MaxSize limits the sum of the sizes of the files, which may have holes. 0 means no
	// limit.
	MaxSize int64
}

// CopyTo copies the file or directory src of the host to the path dst in the
// guest: dst is the name of the copy, not of a directory to copy into. Missing
// directories on the way are made. Files that exist are replaced; of directories
// that exist, the permissions and other files stay. A file does not replace a
// directory. Permissions, modification times, symbolic and hard links, holes, FIFOs
// and devices are kept. Sockets and extended attributes are not copied.
//
// A symbolic link that leads out of src is copied as what it points to: the folders of
// Bazel's runfiles consist of such links. One to a directory that contains it is an
// error.
//
// On hosts that do not run Linux, hard links and holes become plain files.
func (c *Client) CopyTo(ctx context.Context, src, dst string, opts CopyOptions) error {
	return c.send(ctx, dst, opts.into(src), opts, func(w io.Writer) error {
		return tree.Pack(w, src, tree.PackOptions{FollowLinks: opts.FollowLinks, FollowLinksOut: !opts.FollowLinks, FileMode: opts.FileMode, Link: opts.Link})
	})
}

// CopyFilesTo makes the directory dst in the guest, as CopyTo does, with the files and
// directories of files: by their slash-separated paths in dst, their paths on the host. A path
// in dst that ends in a slash is a directory, which may be empty. Links are followed.
func (c *Client) CopyFilesTo(ctx context.Context, files map[string]string, dst string, opts CopyOptions) error {
	return c.send(ctx, dst, "", opts, func(w io.Writer) error {
		return tree.PackFiles(w, files, tree.PackOptions{FileMode: opts.FileMode, Link: opts.Link})
	})
}

// CopyFS copies fsys to the directory dst in the guest, as CopyTo does. Links in it
// are followed.
func (c *Client) CopyFS(ctx context.Context, fsys fs.FS, dst string) error {
	return c.send(ctx, dst, "", CopyOptions{}, func(w io.Writer) error {
		return tree.PackFS(w, fsys)
	})
}

// into returns the name of a copy of src in a directory, "" without Into.
func (o *CopyOptions) into(src string) string {
	if !o.Into {
		return ""
	}
	return filepath.Base(src)
}

// send sends what pack writes. The copy is dst, or into in dst if that is a directory.
func (c *Client) send(ctx context.Context, dst, into string, opts CopyOptions, pack func(io.Writer) error) error {
	k, err := c.open(ctx, protocol.OpUnpack, &protocol.Tree{Path: dst, KeepOwner: opts.KeepOwner, Into: into})
	if err != nil {
		return err
	}
	// Records of small files share frames.
	channel := k.Writer(protocol.Data)
	w := bufio.NewWriterSize(channel, protocol.MaxPayload)
	packErr := pack(w)
	if packErr == nil {
		packErr = w.Flush()
	}
	if packErr == nil {
		channel.Close()
		return k.result(nil)
	}
	k.abort(packErr)
	// If the agent ended the request, its result says why. Otherwise the host's
	// files are at fault.
	if err := k.result(nil); err != nil && (k.ctx.Err() != nil || errors.Is(packErr, protocol.ErrRequestOver)) {
		return err
	}
	return packErr
}

// CopyFrom copies the file or directory src of the guest to the path dst on the
// host, as CopyTo does, but links stay links. It writes nothing outside dst, whatever
// the guest sends, and does not make devices. Without KeepOwner, the caller has all
// permissions for its directories. If it fails, part of the copy may exist.
//
// A symbolic link of the copy may point anywhere: do not follow links in files
// from a guest that you do not trust.
func (c *Client) CopyFrom(ctx context.Context, src, dst string, opts CopyOptions) error {
	limits := tree.UnpackOptions{KeepOwner: opts.KeepOwner, WritableDirs: !opts.KeepOwner, Into: opts.into(src), MaxBytes: opts.MaxBytes, MaxSize: opts.MaxSize, MaxEntries: opts.MaxFiles}
	if limits.MaxBytes == 0 {
		limits.MaxBytes = DefaultMaxBytes
	}
	if limits.MaxEntries == 0 {
		limits.MaxEntries = DefaultMaxFiles
	}
	k, err := c.open(ctx, protocol.OpPack, &protocol.Tree{Path: src, FollowLinks: opts.FollowLinks})
	if err != nil {
		return err
	}
	unpackErr := tree.Unpack(k.Reader(protocol.Data), dst, limits)
	if unpackErr == nil {
		return k.result(nil)
	}
	k.abort(unpackErr)
	// A stream that ends early has its reason in the result.
	if err := k.result(nil); err != nil && (k.ctx.Err() != nil || errors.Is(unpackErr, io.ErrUnexpectedEOF)) {
		return err
	}
	return fmt.Errorf("copy %s from the guest: %w", src, unpackErr)
}
