package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
)

// The test's folders in the guest. Tests may delete guestRunfiles, but not guestMount, where a
// tmpfs may be mounted.
const (
	guestDir      = "/var/tmp/bazel"
	guestMount    = guestDir + "/test"
	guestRunfiles = guestMount + "/runfiles"
	guestTmp      = guestDir + "/tmp"
	guestOutputs  = guestDir + "/outputs"
)

// send copies the runfiles to the guest, and makes the test's folders there.
func (t *inGuestTest) send(m *vm.Machine, client *agent.Client) error {
	ctx, stop := t.untilSignal(m, "its runfiles were copied")
	defer stop()
	files, err := t.files()
	if err != nil {
		return err
	}
	var store *store
	if t.hasStore {
		store, err = readStore(ctx, client)
	}
	if err == nil && store == nil {
		err = mountForTest(ctx, client, memory(files))
	}
	if err == nil {
		err = copyToGuest(ctx, client, guestDir, files, store)
	}
	if err != nil {
		return fmt.Errorf("the runfiles cannot be copied to the guest: %w", err)
	}
	if t.User == "" {
		return nil
	}
	// The runfiles as well: a program from Bazel's disk cache is executable for its owner only.
	return inGuest(ctx, m, vm.Command{Args: []string{"chown", "-R", t.User, guestRunfiles, guestTmp, guestOutputs}}, io.Discard)
}

// mountForTest mounts a tmpfs on guestMount for files of this size if the guest has enough
// memory: writing thousands of files to a disk takes twice the time. For few files, the mount
// takes longer than what it saves.
func mountForTest(ctx context.Context, client *agent.Client, size int64) error {
	const few = 4 << 20
	if fs := client.Info().RootFS; size < few || fs == "rootfs" || fs == "tmpfs" {
		return nil
	}
	err := client.MountTmpfs(ctx, guestMount, 0o755, size)
	if guestErrno(err) != 0 {
		return nil // too little memory, a read-only root, or no tmpfs
	}
	return err
}

// copyToGuest copies files to a folder in guestDir.
func copyToGuest(ctx context.Context, client *agent.Client, to string, files map[string]string, s *store) error {
	err := client.CopyFilesTo(ctx, files, to, agent.CopyOptions{Link: s.link})
	if guestErrno(err) != syscall.EROFS {
		return err
	}
	if mountErr := makeWritable(ctx, client); mountErr != nil {
		return fmt.Errorf("%w; a tmpfs cannot be mounted there: %w", err, mountErr)
	}
	return client.CopyFilesTo(ctx, files, to, agent.CopyOptions{})
}

// makeWritable mounts a tmpfs where tests must be able to write, in a guest with a
// read-only root.
func makeWritable(ctx context.Context, client *agent.Client) error {
	folders := []string{path.Dir(guestDir)}
	if err := client.WriteFile(ctx, "/tmp/.rules_qcow2", nil, 0o600); guestErrno(err) == syscall.EROFS {
		folders = append(folders, "/tmp")
	}
	for _, folder := range folders {
		if err := client.MountTmpfs(ctx, folder, 0o777|fs.ModeSticky, 0); err != nil {
			return err
		}
	}
	return nil
}

// memory returns how many bytes the files take in a tmpfs. What cannot be read does not count.
func memory(files map[string]string) (size int64) {
	for name, path := range files {
		if strings.HasSuffix(name, "/") {
			continue
		}
		walkFiles(path, func(_ string, info fs.FileInfo) error {
			const page, inode = 4096, 1024
			size += (info.Size()+page-1)/page*page + inode
			return nil
		})
	}
	return size
}

// walkFiles calls f for a file, or for all files in a folder. Links are followed.
func walkFiles(path string, f func(path string, info fs.FileInfo) error) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return f(path, info)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := walkFiles(filepath.Join(path, entry.Name()), f); err != nil {
			return err
		}
	}
	return nil
}

// files returns what is to be in guestDir, as agent.Client.CopyFilesTo takes it.
func (t *inGuestTest) files() (map[string]string, error) {
	folder := func(dir string) string { return strings.TrimPrefix(dir, guestDir+"/") + "/" }
	root := folder(guestRunfiles)
	files := map[string]string{folder(guestTmp): "", folder(guestOutputs): "", root: ""}
	for _, output := range testOutputs {
		if output.folder {
			files[folder(path.Join(guestOutputs, output.name))] = ""
		}
	}
	names, err := t.names()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if files[root+name], err = runfiles.Rlocation(name); err != nil {
			return nil, err
		}
	}
	// Runfiles libraries read it.
	if mapping, err := runfiles.Rlocation(repoMapping); err == nil && exists(mapping) {
		files[root+repoMapping] = mapping
	}
	return files, nil
}

const repoMapping = "_repo_mapping"

// names returns the rlocation paths of the test's runfiles.
func (t *inGuestTest) names() ([]string, error) {
	if t.Manifest == "" {
		return t.tree()
	}
	return readRunfile(t.Manifest)
}

// readRunfile returns the lines of a runfile.
func readRunfile(name string) ([]string, error) {
	path, err := runfiles.Rlocation(name)
	if err != nil {
		return nil, err
	}
	return readList(path)
}

// readList returns the lines of a file.
func readList(path string) ([]string, error) {
	content, err := os.ReadFile(path)
	if err != nil || len(content) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(content), "\n"), "\n"), nil
}

// tree returns all runfiles that are not the machine's.
func (t *inGuestTest) tree() ([]string, error) {
	machine, err := readRunfile(t.machine)
	if err != nil {
		return nil, err
	}
	skip := map[string]bool{t.machine: true, "MANIFEST": true, repoMapping: true}
	for _, name := range machine {
		skip[name] = true
	}
	var names []string
	err = filepath.WalkDir(t.runfiles, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(t.runfiles, path)
		switch {
		case err != nil:
			return err
		case skip[name] && entry.IsDir(), strings.Count(name, "/") == 1 && entry.Name() == "external":
			return filepath.SkipDir // external has all other repositories again (--legacy_external_runfiles)
		case entry.IsDir() || skip[name]:
			return nil
		}
		names = append(names, name)
		return nil
	})
	return names, err
}
