package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// A workspace is a copy of the workspace in ../, with its own Bazel server.
type workspace struct {
	d          *driver
	dir        string
	outputBase string
	ruleset    string   // as this Bazel sees it
	wrapper    []string // the command that runs bazelw
	env        []string // added to this process's
	startup    []string // startup flags of Bazel
	started    bool
}

// workspaces have servers that cleanUp shuts down.
var workspaces []*workspace

const (
	largeSize = 64 << 20

	// With compiled programs, builds do not compile Go.
	prebuilt = `load("@rules_qcow2//:defs.bzl", "qcow2gen_toolchain")
load("@rules_qcow2//private:toolchain.bzl", "vmboot_toolchain")

qcow2gen_toolchain(
    name = "qcow2convert",
    qcow2gen = "qcow2convert.exe",
)

toolchain(
    name = "qcow2convert_toolchain",
    toolchain = ":qcow2convert",
    toolchain_type = "@rules_qcow2//tools/qcow2convert:toolchain_type",
)

qcow2gen_toolchain(
    name = "qcow2gen",
    qcow2gen = "qcow2gen.exe",
)

toolchain(
    name = "toolchain",
    toolchain = ":qcow2gen",
    toolchain_type = "@rules_qcow2//tools/qcow2gen:toolchain_type",
)

vmboot_toolchain(
    name = "vmboot",
    qcow2check = "qcow2check.exe",
    vm = "vm.exe",
    vmboot = "vmboot.exe",
)

toolchain(
    name = "vmboot_toolchain",
    toolchain = ":vmboot",
    toolchain_type = "@rules_qcow2//tools/vmboot:toolchain_type",
)
`
)

// newWorkspace makes a copy in the scratch folder.
func (d *driver) newWorkspace(name string) (*workspace, error) {
	w := &workspace{
		d:          d,
		dir:        filepath.Join(d.scratch, name),
		outputBase: filepath.Join(d.scratch, "output", strings.ReplaceAll(name, "/", "_")),
		ruleset:    *ruleset,
	}
	source := filepath.Join(*ruleset, "e2e/remote")
	err := filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, _ := filepath.Rel(source, path)
		switch {
		case entry.IsDir() && entry.Name() == "driver":
			return filepath.SkipDir
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(w.dir, relative), 0o755)
		case !entry.Type().IsRegular(): // bazel-bin and the like
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return w.write(relative, content)
	})
	if err != nil {
		return nil, err
	}
	for name, path := range map[string]string{
		"prebuilt/qcow2check.exe":   *qcow2check,
		"prebuilt/qcow2convert.exe": *qcow2convert,
		"prebuilt/qcow2gen.exe":     *qcow2gen,
		"prebuilt/vm.exe":           *vm,
		"prebuilt/vmboot.exe":       *vmboot,
		"machines/disk.img":         *bootDisk,
	} {
		content, err := os.ReadFile(path)
		if err == nil {
			err = w.write(name, content)
		}
		if err != nil {
			return nil, err
		}
	}
	large, err := d.largeBase()
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		w.write("prebuilt/BUILD.bazel", []byte(prebuilt)),
		w.write("machines/BUILD.bazel", []byte(machines)),
		w.write("machines/passes.sh", []byte("#!/bin/sh\n")),
		w.write("large.img", large),
		w.useRuleset(*ruleset),
	)
	workspaces = append(workspaces, w)
	return w, err
}

// largeBase returns random bytes, which no cache has yet. They are the same in all
// workspaces of this run.
func (d *driver) largeBase() ([]byte, error) {
	path := filepath.Join(d.scratch, "large.img")
	content, err := os.ReadFile(path)
	if err == nil {
		return content, nil
	}
	content = make([]byte, largeSize)
	rand.Read(content)
	d.large = digest(content)
	return content, os.WriteFile(path, content, 0o644)
}

func (w *workspace) write(name string, content []byte) error {
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	// WriteFile would keep the mode of an existing file.
	os.Remove(path)
	mode := fs.FileMode(0o644)
	if strings.HasSuffix(name, ".sh") || strings.HasSuffix(name, ".exe") {
		mode = 0o755
	}
	return os.WriteFile(path, content, mode)
}

// useRuleset writes the folder of the ruleset to MODULE.bazel.
func (w *workspace) useRuleset(folder string) error {
	path := filepath.Join(w.dir, "MODULE.bazel")
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	old := fmt.Sprintf("path = %q", "../..")
	if !bytes.Contains(content, []byte(old)) {
		old = fmt.Sprintf("path = %q", w.ruleset)
	}
	w.ruleset = folder
	return os.WriteFile(path, bytes.Replace(content, []byte(old), fmt.Appendf(nil, "path = %q", folder), 1), 0o644)
}

// command returns one call of Bazel, which is not started.
func (w *workspace) command(args ...string) *exec.Cmd {
	// If this process is killed, the server ends after 5 idle minutes.
	call := append(w.wrapper, filepath.Join(w.ruleset, "bazelw"), "--output_base="+w.outputBase, "--max_idle_secs=300")
	call = append(append(call, w.startup...), args...)
	cmd := exec.CommandContext(w.d.ctx, call[0], call[1:]...)
	// SIGTERM lets Bazel end the build cleanly.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), w.env...)
	w.started = true
	return cmd
}

// bazel runs Bazel and returns its output.
func (w *workspace) bazel(args ...string) (string, error) {
	out, err := w.command(args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("bazel %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// build runs `bazel build` or `bazel test`, without caches except those in args, and
// returns the actions that were not up to date.
func (w *workspace) build(verb string, args ...string) ([]spawn, error) {
	executionLog := w.outputBase + ".log.json"
	os.Remove(executionLog)
	_, err := w.bazel(append([]string{
		verb, "--color=no", "--curses=no", "--show_progress_rate_limit=60", "--jobs=2", "--disk_cache=",
		// bazelw sets other values than a user has.
		"--experimental_output_paths=off", "--modify_execution_info=",
		"--extra_toolchains=//prebuilt:all", "--execution_log_json_file=" + executionLog,
	}, args...)...)
	if err != nil {
		return nil, err
	}
	return readExecutionLog(executionLog)
}

// clean removes all outputs. The server keeps running.
func (w *workspace) clean() error {
	_, err := w.bazel("clean")
	return err
}

func (w *workspace) shutdown() {
	if w.started {
		w.bazel("shutdown")
	}
}

// images returns the digests of all images and their metadata in bazel-bin, without
// those that guests write: their bytes differ from build to build.
func (w *workspace) images() (map[string]string, error) {
	bin, err := filepath.EvalSymlinks(filepath.Join(w.dir, "bazel-bin"))
	if err != nil {
		return nil, err
	}
	digests := map[string]string{}
	err = filepath.WalkDir(bin, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "machines" || strings.HasSuffix(path, ".backing") || strings.HasSuffix(path, ".runfiles")):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".qcow2") && !strings.HasSuffix(path, ".qcow2.json"):
			return nil
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(bin, path)
		digests[name] = digest(content)
		return err
	})
	return digests, err
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
