//go:build linux

package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
	"github.com/rules-qcow2/rules_qcow2/guest/tree"
)

func checkPath(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("path %q must be absolute", path)
	}
	return nil
}

func readFile(q *protocol.Request) error {
	var m protocol.File
	if err := q.Body(&m); err != nil {
		return err
	}
	if err := checkPath(m.Path); err != nil {
		return err
	}
	f, err := os.Open(m.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return &os.PathError{Op: "read", Path: m.Path, Err: syscall.EISDIR}
	}
	defer closeOn(q.Context(), f)()
	return copyBytes(q.Writer(protocol.Data), f)
}

// stat fails if a file does not exist. It follows links.
func stat(q *protocol.Request) error {
	var m protocol.File
	if err := q.Body(&m); err != nil {
		return err
	}
	if err := checkPath(m.Path); err != nil {
		return err
	}
	_, err := os.Stat(m.Path)
	return err
}

// writeFile is os.WriteFile: it follows links, and an existing file keeps its
// permissions.
func writeFile(q *protocol.Request) error {
	var m protocol.File
	if err := q.Body(&m); err != nil {
		return err
	}
	if err := checkPath(m.Path); err != nil {
		return err
	}
	f, err := os.OpenFile(m.Path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, os.FileMode(m.Mode&0o777))
	if err != nil {
		return err
	}
	stop := closeOn(q.Context(), f)
	err = copyBytes(f, q.Reader(protocol.Data))
	stop()
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

func packTree(q *protocol.Request) error {
	var m protocol.Tree
	if err := q.Body(&m); err != nil {
		return err
	}
	if err := checkPath(m.Path); err != nil {
		return err
	}
	// Records of small files share frames.
	w := bufio.NewWriterSize(q.Writer(protocol.Data), protocol.MaxPayload)
	if err := tree.Pack(w, m.Path, tree.PackOptions{FollowLinks: m.FollowLinks}); err != nil {
		return err
	}
	return w.Flush()
}

func unpackTree(q *protocol.Request) error {
	var m protocol.Tree
	if err := q.Body(&m); err != nil {
		return err
	}
	if err := checkPath(m.Path); err != nil {
		return err
	}
	return tree.Unpack(q.Reader(protocol.Data), m.Path, tree.UnpackOptions{KeepOwner: m.KeepOwner, Into: m.Into, Devices: true})
}

// mountTmpfs mounts a tmpfs that is to hold a number of bytes.
func (a *agent) mountTmpfs(q *protocol.Request) error {
	var m protocol.Tmpfs
	if err := q.Body(&m); err != nil {
		return err
	}
	if err := checkPath(m.Path); err != nil {
		return err
	}
	if m.Content > 0 {
		available, err := a.kernel.availableMemory()
		if err != nil {
			return err
		}
		if m.Content > available/2 {
			return &os.PathError{Op: "mount a tmpfs", Path: m.Path, Err: syscall.ENOMEM}
		}
	}
	if err := os.MkdirAll(m.Path, 0o755); err != nil {
		return err
	}
	err := syscall.Mount("tmpfs", m.Path, "tmpfs", 0, fmt.Sprintf("mode=%o", m.Mode&0o1777))
	return os.NewSyscallError("mount a tmpfs on "+m.Path, err)
}
