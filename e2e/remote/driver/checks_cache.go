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

// layers are the numbers of layers in the chains of the workspace's images, which are
// relative to bazel-bin.
var layers = map[string]int{
	"converted.qcow2":        1,
	"converted_layer.qcow2":  2,
	"on_external.qcow2":      2,
	"on_generated.qcow2":     2,
	"on_source.qcow2":        2,
	"sized.qcow2":            2,
	"upper/on_overlay.qcow2": 3,
	"upper/three_deep.qcow2": 4,
}

// converted are those with data, of qcow2_image.
var converted = []string{"converted.qcow2", "converted_layer.qcow2"}

// disks are all targets except the tests and their dependencies.
var disks = []string{
	"//:converted", "//:converted_layer",
	"//:on_external", "//:on_generated", "//:on_source", "//:sized", "//upper:on_overlay", "//upper:three_deep",
}

// topLevel downloads the outputs of the requested targets and the links to their
// bases: a generated base is not a top-level output.
var topLevel = []string{"--remote_download_toplevel", `--remote_download_regex=.*\.qcow2\.backing/.*`}

var cacheChecks = []check{
	{"HTTP cache: the first build fills it", fillHTTPCache},
	{"HTTP cache: another output base has only hits", func(d *driver) error {
		return d.hitsOnly(nil, []string{"--remote_download_all"}, d.local)
	}},
	{"HTTP cache: only hits with --remote_download_toplevel", func(d *driver) error {
		return d.hitsOnly(d.second.clean, topLevel, imagesOf(d.local))
	}},
	{"HTTP cache: only hits with --remote_download_minimal", cacheMinimal},
	{"HTTP cache: tests open images after --remote_download_minimal", func(d *driver) error {
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
	if n := len(d.local); n != 2*len(layers) {
		return fmt.Errorf("bazel-bin has %d images and metadata files, want %d: %v", n, 2*len(layers), d.local)
	}
	return errors.Join(mustHave(spawns, locally, false), opensFromBazelBin(d.first))
}

// hitsOnly builds in the second workspace and opens the images in bazel-bin.
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
		return skipped("the HTTP cache did not start")
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
	// Otherwise the next check would not test downloads.
	if _, err := os.Stat(filepath.Join(d.second.dir, "bazel-bin/on_source.qcow2")); err == nil {
		return errors.New("on_source.qcow2 was downloaded")
	}
	return nil
}

// testsPass runs the tests, and checks that they were not taken from a cache.
func (d *driver) testsPass(w *workspace, runner string, args ...string) error {
	if d.httpCache == "" && d.executor == nil {
		return skipped("no server started")
	}
	if err := hasQEMU(); err != nil {
		return err
	}
	spawns, err := w.build("test", append(args, "//:all", "--nocache_test_results")...)
	if err != nil {
		return err
	}
	tests := withMnemonic(spawns, "TestRunner")
	// Each test has a second action, for its test.xml.
	labels := map[string]bool{}
	for _, s := range tests {
		labels[s.TargetLabel] = true
	}
	if len(labels) != 6 {
		return fmt.Errorf("%d tests ran, want 6: %v", len(labels), spawns)
	}
	return ranAs(tests, runner, false)
}

func hasQEMU() error {
	_, err := program("qemu-img")
	return err
}

// opensFromBazelBin opens each image and its chain, as a user in the workspace does.
func opensFromBazelBin(w *workspace) error {
	qemuImg, err := program("qemu-img")
	if err != nil {
		return err
	}
	for image, want := range layers {
		call := append(qemuImg, "info", "--backing-chain", "bazel-bin/"+image)
		cmd := exec.Command(call[0], call[1:]...)
		cmd.Dir = w.dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", image, err, out)
		}
		if got := strings.Count("\n"+string(out), "\nimage: "); got != want {
			return fmt.Errorf("the chain of %s has %d layers, want %d: %s", image, got, want, out)
		}
	}
	return nil
}

// same checks that two builds wrote the same files to bazel-bin.
func same(want, got map[string]string) error {
	if len(want) == 0 {
		return errors.New("the build to compare with has no images")
	}
	if !maps.Equal(want, got) {
		return fmt.Errorf("got images with digests %v, want %v", got, want)
	}
	return nil
}

// imagesOf returns the images without their metadata, which are not default outputs.
func imagesOf(files map[string]string) map[string]string {
	images := maps.Clone(files)
	maps.DeleteFunc(images, func(name, _ string) bool { return !strings.HasSuffix(name, ".qcow2") })
	return images
}
