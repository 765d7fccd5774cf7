package main

import (
	"context"
	"errors"
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

// The test's folders in the guest.
const (
	guestDir      = "/var/tmp/bazel"
	guestRunfiles = guestDir + "/runfiles"
	guestTmp      = guestDir + "/tmp"
	guestOutputs  = guestDir + "/outputs"
)

// send copies the runfiles to the guest, and makes the test's folders there.
func (t *inGuestTest) send(m *vm.Machine, client *agent.Client) error {
	ctx, stop := t.untilSignal(m, "its runfiles were copied")
	defer stop()
	staging := filepath.Join(t.dir, "staging")
	if err := t.stage(staging); err != nil {
		return err
	}
	store, err := readStore(ctx, client)
	if err == nil {
		err = copyToGuest(ctx, m, client, guestDir, staging, store)
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

// copyToGuest copies a folder of links to a folder in guestDir.
func copyToGuest(ctx context.Context, m *vm.Machine, client *agent.Client, to, from string, s *store) error {
	err := client.CopyTo(ctx, from, to, agent.CopyOptions{FollowLinks: true, Link: s.link})
	if guestErrno(err) != syscall.EROFS {
		return err
	}
	if mountErr := makeWritable(ctx, m, client); mountErr != nil {
		return fmt.Errorf("%w; a tmpfs cannot be mounted there: %w", err, mountErr)
	}
	return client.CopyTo(ctx, from, to, agent.CopyOptions{FollowLinks: true})
}

// makeWritable mounts a tmpfs where tests must be able to write, in a guest with a
// read-only root.
func makeWritable(ctx context.Context, m *vm.Machine, client *agent.Client) error {
	folders := []string{path.Dir(guestDir)}
	if err := client.WriteFile(ctx, "/tmp/.rules_qcow2", nil, 0o600); guestErrno(err) == syscall.EROFS {
		folders = append(folders, "/tmp")
	}
	for _, folder := range folders {
		mount := vm.Command{Args: []string{"mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", folder}}
		if err := inGuest(ctx, m, mount, io.Discard); err != nil {
			return err
		}
	}
	return nil
}

// stage makes a folder of links: the guest's guestDir.
func (t *inGuestTest) stage(staging string) error {
	folders := []string{"tmp", "outputs", "runfiles"}
	for _, output := range testOutputs {
		if output.folder {
			folders = append(folders, "outputs/"+output.name)
		}
	}
	for _, folder := range folders {
		if err := os.MkdirAll(filepath.Join(staging, folder), 0o777); err != nil {
			return err
		}
	}
	names, err := t.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := t.link(filepath.Join(staging, "runfiles"), name); err != nil {
			return err
		}
	}
	// Runfiles libraries read it.
	if mapping, err := runfiles.Rlocation(repoMapping); err == nil && exists(mapping) {
		return t.link(filepath.Join(staging, "runfiles"), repoMapping)
	}
	return nil
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

// link adds one runfile.
func (t *inGuestTest) link(root, name string) error {
	source, err := runfiles.Rlocation(name)
	if err != nil {
		return err
	}
	link := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(link), 0o777); err != nil {
		return err
	}
	if err := os.Symlink(source, link); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
