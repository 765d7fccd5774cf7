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
	staging := filepath.Join(dir, "store")
	if err := os.Mkdir(staging, 0o777); err != nil {
		return err
	}
	var index strings.Builder
	for _, path := range paths {
		if err := stageStore(staging, path, &index); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(staging, storeIndex), []byte(index.String()), 0o666); err != nil {
		return err
	}
	client, err := m.Agent(ctx)
	if err != nil {
		return err
	}
	return copyToGuest(ctx, m, client, guestDir+"/"+storeName, staging, nil)
}

// stageStore adds links to a file, or to all files in a folder. Links in folders are
// followed, as those to the folders are.
func stageStore(staging, path string, index *strings.Builder) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		entries, err := os.ReadDir(path)
		for _, entry := range entries {
			err = errors.Join(err, stageStore(staging, filepath.Join(path, entry.Name()), index))
		}
		return err
	}
	key, err := fileKey(path, info)
	if err != nil {
		return err
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	if err := os.Symlink(path, filepath.Join(staging, key)); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	fmt.Fprintf(index, "%s %d\n", key, info.Size())
	return nil
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
