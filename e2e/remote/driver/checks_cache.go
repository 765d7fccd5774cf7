package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// overlays are the images of the workspace, relative to bazel-bin, with the
// number of layers that each one's chain has.
var overlays = map[string]int{
	"on_external.qcow2":      2,
	"on_generated.qcow2":     2,
	"on_source.qcow2":        2,
	"sized.qcow2":            2,
	"upper/on_overlay.qcow2": 3,
	"upper/three_deep.qcow2": 4,
}

// disks are all targets but the tests, and what those take along.
var disks = []string{
	"//:on_external", "//:on_generated", "//:on_source", "//:sized", "//upper:on_overlay", "//upper:three_deep",
}

// topLevel downloads what a user asks for, and what it takes to open that: a
// generated base is nobody's top-level output.
var topLevel = []string{"--remote_download_toplevel", `--remote_download_regex=.*\.qcow2\.backing/.*`}

var cacheChecks = []check{
	{"HTTP cache: the first build fills it", fillHTTPCache},
	{"HTTP cache: another output base has hits only", func(d *driver) error {
		return d.hitsOnly(nil, []string{"--remote_download_all"}, d.local)
	}},
	{"HTTP cache: hits only with --remote_download_toplevel", func(d *driver) error {
		return d.hitsOnly(d.second.clean, topLevel, imagesOf(d.local))
	}},
	{"HTTP cache: hits only with --remote_download_minimal", cacheMinimal},
	{"HTTP cache: tests open what --remote_download_minimal left in the cache", func(d *driver) error {
		return d.testsPass(d.second, locally, "--remote_cache="+d.httpCache, "--remote_download_minimal")
	}},
}

func fillHTTPCache(d *driver) error {
	address, err := d.startHTTPCache()
	if err != nil {
		return err
	}
	d.httpCache = address
	spawns, err := d.first.build("build", append(disks, "--remote_cache="+d.httpCache)...)
	if err != nil {
		return err
	}
	if d.local, err = d.first.images(); err != nil {
		return err
	}
	if n := len(d.local); n != 2*len(overlays) {
		return fmt.Errorf("there are %d images and metadata files in bazel-bin, want %d: %v", n, 2*len(overlays), d.local)
	}
	return errors.Join(mustHave(spawns, locally, false), opensFromBazelBin(d.first))
}

// hitsOnly builds in the other workspace and opens what is in bazel-bin.
func (d *driver) hitsOnly(before func() error, download []string, want map[string]string) error {
	if err := d.allHits(before, download); err != nil {
		return err
	}
	images, err := d.second.images()
	if err != nil {
		return err
	}
	return errors.Join(same(want, images), opensFromBazelBin(d.second))
}

func (d *driver) allHits(before func() error, download []string) error {
	if d.httpCache == "" {
		return skipped("no HTTP cache")
	}
	if before != nil {
		if err := before(); err != nil {
			return err
		}
	}
	spawns, err := d.second.build("build", slices.Concat(disks, download, []string{"--remote_cache=" + d.httpCache})...)
	if err != nil {
		return err
	}
	return mustHave(spawns, "remote cache hit", true)
}

func cacheMinimal(d *driver) error {
	if err := d.allHits(d.second.clean, []string{"--remote_download_minimal"}); err != nil {
		return err
	}
	// Or the next check has nothing to do.
	if _, err := os.Stat(filepath.Join(d.second.dir, "bazel-bin/on_source.qcow2")); err == nil {
		return errors.New("on_source.qcow2 was downloaded")
	}
	return nil
}

// testsPass runs the tests, and checks that they were not taken from a cache.
func (d *driver) testsPass(w *workspace, runner string, args ...string) error {
	if d.httpCache == "" && d.executor == nil {
		return skipped("no server")
	}
	if err := hasQEMU(); err != nil {
		return err
	}
	spawns, err := w.build("test", append(args, "//:all", "--nocache_test_results")...)
	if err != nil {
		return err
	}
	tests := withMnemonic(spawns, "TestRunner")
	// Each test has another action for its test.xml.
	labels := map[string]bool{}
	for _, s := range tests {
		labels[s.TargetLabel] = true
	}
	if len(labels) != 4 {
		return fmt.Errorf("%d tests were run, want 4: %v", len(labels), spawns)
	}
	return ranAs(tests, runner, false)
}

func hasQEMU() error {
	_, err := program("qemu-img")
	return err
}

// opensFromBazelBin opens each image with all below it, as a user does who is
// in the workspace.
func opensFromBazelBin(w *workspace) error {
	qemuImg, err := program("qemu-img")
	if err != nil {
		return err
	}
	for image, want := range overlays {
		call := append(qemuImg, "info", "--backing-chain", "bazel-bin/"+image)
		cmd := exec.Command(call[0], call[1:]...)
		cmd.Dir = w.dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", image, err, out)
		}
		if layers := strings.Count("\n"+string(out), "\nimage: "); layers != want {
			return fmt.Errorf("the chain of %s has %d layers, want %d: %s", image, layers, want, out)
		}
	}
	return nil
}

// same checks that two builds have left the same files in bazel-bin.
func same(want, got map[string]string) error {
	if len(want) == 0 {
		return errors.New("there is nothing to compare with")
	}
	if !maps.Equal(want, got) {
		return fmt.Errorf("the images and their digests are %v, want %v", got, want)
	}
	return nil
}

// imagesOf leaves out the metadata: no outputs that a user asks for.
func imagesOf(files map[string]string) map[string]string {
	images := maps.Clone(files)
	maps.DeleteFunc(images, func(name, _ string) bool { return !strings.HasSuffix(name, ".qcow2") })
	return images
}
