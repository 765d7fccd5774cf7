package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
)

// The store of a guest has files for the tests that resume it, which a qemu_snapshot
// copies there: each by its key. The index has a line "KEY SIZE" for each.
const (
	storeName  = "store" // in guestDir
	storeIndex = "index"
	// maxStoreIndex is the largest index that a guest may send, in bytes: 100,000 files.
	maxStoreIndex = 8 << 20
)

// A store has the keys of the files, and their sizes: most files of another size need no
// key.
type store struct {
	keys  map[string]bool
	sizes map[int64]bool
}

// fileKey names a file by its content and its permissions.
func fileKey(path string, info fs.FileInfo) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x-%o", hash.Sum(nil), info.Mode().Perm()), nil
}

// fillStore copies files and folders of files to the store. list is a file with a path
// in each line.
func fillStore(ctx context.Context, m *vm.Machine, list, dir string) error {
	paths, err := readList(list)
	if err != nil {
		return err
	}
	files := make(map[string]string)
	var index strings.Builder
	for _, path := range paths {
		err := walkFiles(path, func(path string, info fs.FileInfo) error {
			key, err := fileKey(path, info)
			if err == nil && files[key] == "" {
				files[key] = path
				fmt.Fprintf(&index, "%s %d\n", key, info.Size())
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	files[storeIndex] = filepath.Join(dir, storeIndex)
	if err := os.WriteFile(files[storeIndex], []byte(index.String()), 0o666); err != nil {
		return err
	}
	client, err := m.Agent(ctx)
	if err != nil {
		return err
	}
	return copyToGuest(ctx, client, guestDir+"/"+storeName, files, nil)
}

// readStore returns the guest's store, nil if it does not have one.
func readStore(ctx context.Context, client *agent.Client) (*store, error) {
	content, err := client.ReadFile(ctx, guestDir+"/"+storeName+"/"+storeIndex)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(content) > maxStoreIndex {
		return nil, fmt.Errorf("the index of the guest's files has %d bytes, and may have %d", len(content), maxStoreIndex)
	}
	s := &store{keys: make(map[string]bool), sizes: make(map[int64]bool)}
	for line := range strings.Lines(string(content)) {
		var key string
		var size int64
		if _, err := fmt.Sscan(line, &key, &size); err != nil {
			return nil, fmt.Errorf("the index of the guest's files: %q: %w", line, err)
		}
		s.keys[key], s.sizes[size] = true, true
	}
	return s, nil
}

// link is agent.CopyOptions.Link for copies to guestDir.
func (s *store) link(path string, info fs.FileInfo) (string, error) {
	if s == nil || !s.sizes[info.Size()] {
		return "", nil
	}
	key, err := fileKey(path, info)
	if err != nil || !s.keys[key] {
		return "", err
	}
	return storeName + "/" + key, nil
}
