package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Each check builds without a cache, and compares the images with those of the build
// that filled the HTTP cache.
var digestChecks = []check{
	{"same digests: another folder and output base", func(d *driver) error {
		return d.sameDigests(d.second)
	}},
	{"same digests: -c opt", func(d *driver) error {
		return d.sameDigests(d.second, "--compilation_mode=opt")
	}},
	{"same digests: --spawn_strategy=sandboxed", func(d *driver) error {
		_, err := d.buildAgain(d.second, "sandbox", "--spawn_strategy=sandboxed")
		return err
	}},
	{"same digests: --experimental_output_paths=strip", stripped},
	{"same digests: another user", anotherUser},
	{"same digests: the ruleset as an external module", externalModule},
}

func (d *driver) sameDigests(w *workspace, args ...string) error {
	_, err := d.buildAgain(w, locally, args...)
	return err
}

// buildAgain builds without a cache, and returns all actions.
func (d *driver) buildAgain(w *workspace, runner string, args ...string) ([]spawn, error) {
	if err := w.clean(); err != nil {
		return nil, err
	}
	spawns, err := w.build("build", slices.Concat(disks, args)...)
	if err != nil {
		return nil, err
	}
	images, err := w.images()
	if err != nil {
		return nil, err
	}
	if len(d.local) == 0 {
		if d.local, err = w.images(); err != nil {
			return nil, err
		}
	}
	return spawns, errors.Join(mustHave(spawns, runner, false), same(d.local, images))
}

func stripped(d *driver) error {
	// Bazel does not strip paths for workers.
	spawns, err := d.buildAgain(d.second, "sandbox", "--experimental_output_paths=strip")
	if err != nil {
		return err
	}
	for _, s := range slices.Concat(withMnemonic(spawns, "Qcow2Overlay"), withMnemonic(spawns, "Qcow2Image"), withMnemonic(spawns, "Qcow2Check")) {
		if !strings.Contains(strings.Join(s.CommandArgs, " "), "bazel-out/cfg/bin/") {
			return fmt.Errorf("%v: its paths have the configuration: %q", s, s.CommandArgs)
		}
	}
	return nil
}

const nobodyUID = 65534

// asNobody returns the workspace of the user nobody, with another home folder and another
// path of the ruleset. Root's home folder is hidden, except for the cache folder of
// bazelw.
func (d *driver) asNobody() (*workspace, error) {
	if d.nobody != nil {
		return d.nobody, nil
	}
	if os.Geteuid() != 0 {
		return nil, skipped("another user needs root")
	}
	if !privateRoot() {
		return nil, skipped("another user needs the private Bazel of bazelw")
	}
	w, err := d.newWorkspace("another_user")
	if err != nil {
		return nil, err
	}
	cache, err := cacheFolder()
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(d.scratch, "ruleset")
	home := filepath.Join(d.scratch, "home")
	root := os.Getenv("HOME")
	w.outputBase = filepath.Join(home, "output")
	w.startup = []string{"--output_user_root=" + filepath.Join(home, "user_root")}
	if err := errors.Join(os.Mkdir(folder, 0o755), os.Mkdir(home, 0o755), w.useRuleset(folder)); err != nil {
		return nil, err
	}
	for _, dir := range []string{home, w.dir} {
		out, err := exec.Command("chown", "-R", fmt.Sprint(nobodyUID), dir).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("chown: %w: %s", err, out)
		}
	}
	w.wrapper = []string{"bwrap", "--dev-bind", "/", "/", "--tmpfs", root}
	// Without this, only root could enter the folders in between.
	for _, parent := range parentsBelow(root, cache) {
		w.wrapper = append(w.wrapper, "--perms", "0755", "--dir", parent)
	}
	w.wrapper = append(w.wrapper, "--ro-bind", cache, cache, "--ro-bind", *ruleset, folder, "--",
		"setpriv", fmt.Sprintf("--reuid=%d", nobodyUID), fmt.Sprintf("--regid=%d", nobodyUID), "--clear-groups")
	w.env = []string{"HOME=" + home, "USER=nobody", "LOGNAME=nobody", "RULES_QCOW2_CACHE=" + cache, "TMPDIR="}
	d.nobody = w
	return w, nil
}

func anotherUser(d *driver) error {
	w, err := d.asNobody()
	if err != nil {
		return err
	}
	if err := d.sameDigests(w); err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(w.dir, "bazel-bin/on_source.qcow2"))
	if err != nil {
		return err
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != nobodyUID {
		return fmt.Errorf("on_source.qcow2 belongs to user %d, want %d", owner, nobodyUID)
	}
	return nil
}

// parentsBelow returns the folders between top and path, from the top on.
func parentsBelow(top, path string) []string {
	var parents []string
	for parent := filepath.Dir(path); strings.HasPrefix(parent, top+"/"); parent = filepath.Dir(parent) {
		parents = append(parents, parent)
	}
	slices.Reverse(parents)
	return parents
}

// cacheFolder returns the cache folder of bazelw: see bootstrap/lib.sh.
func cacheFolder() (string, error) {
	if folder := os.Getenv("RULES_QCOW2_CACHE"); folder != "" {
		return filepath.Abs(folder)
	}
	folder, err := os.UserCacheDir()
	return filepath.Join(folder, "rules_qcow2"), err
}

// externalModule builds an overlay of the ruleset's examples, once in the ruleset's
// workspace and once in a workspace that depends on the ruleset.
func externalModule(d *driver) error {
	var digests []string
	for _, build := range []struct{ dir, label string }{
		{*ruleset, "//examples/chain:database"},
		{d.second.dir, "@rules_qcow2//examples/chain:database"},
	} {
		call := func(args ...string) *exec.Cmd {
			if build.dir == d.second.dir {
				return d.second.command(append(args, "--extra_toolchains=//prebuilt:toolchain", "--disk_cache=")...)
			}
			cmd := exec.CommandContext(d.ctx, filepath.Join(*ruleset, "bazelw"), args...)
			cmd.Dir = build.dir
			return cmd
		}
		if out, err := call("build", build.label).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", build.label, err, out)
		}
		var stderr bytes.Buffer
		cmd := call("cquery", "--output=files", build.label)
		cmd.Stderr = &stderr
		files, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("cquery: %w: %s", err, &stderr)
		}
		name := strings.TrimSpace(string(files))
		out, err := call("info", "execution_root").Output()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), name))
		if err != nil {
			return err
		}
		digests = append(digests, digest(content))
	}
	if len(slices.Compact(digests)) != 1 {
		return fmt.Errorf("the digests differ: %v", digests)
	}
	return nil
}
