package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
)

// machines is a chain from a base to a test. Each boot of its guest writes to the disk.
const machines = `load("@rules_qcow2//:defs.bzl", "qcow2_layer", "qemu_boot_test", "qemu_snapshot", "qemu_vm")
load("@rules_shell//shell:sh_binary.bzl", "sh_binary")

WRITTEN = ["sector 2: written"]

qemu_vm(
    name = "vm",
    accel = "tcg",
    disks = ["disk.img"],
    memory = "32M",
)

qcow2_layer(
    name = "lower",
    exit_status = 33,
    expect = WRITTEN,
    vm = ":vm",
)

qcow2_layer(
    name = "upper",
    disks = [":lower"],
    exit_status = 33,
    expect = WRITTEN,
    vm = ":vm",
)

qemu_snapshot(
    name = "saved",
    disks = [":upper"],
    expect = WRITTEN,
    vm = ":vm",
)

sh_binary(
    name = "passes",
    srcs = ["passes.sh"],
)

qemu_boot_test(
    name = "saved_test",
    size = "small",
    run_while_up = ":passes",
    vm = ":saved",
)
`

// boots are the build actions that boot a guest, by mnemonic.
var boots = map[string]int{"Qcow2Layer": 2, "QemuSnapshot": 1}

// unpacks is the action that lays out the RAM of a snapshot.
const unpacks = "QemuSnapshotRAM"

var machineChecks = []check{
	{"HTTP cache: the first build boots for its layers and its snapshot", func(d *driver) error {
		return d.bootsInHTTP(d.first, false)
	}},
	{"HTTP cache: another output base tests with them and does not boot", func(d *driver) error {
		return d.bootsInHTTP(d.second, true)
	}},
	{"HTTP cache: nor with --remote_download_minimal", func(d *driver) error {
		if err := d.second.clean(); err != nil {
			return err
		}
		return d.bootsInHTTP(d.second, true, "--remote_download_minimal")
	}},
	{"HTTP cache: another user tests with them and does not boot", func(d *driver) error {
		w, err := d.asNobody()
		if err != nil {
			return err
		}
		return d.bootsInHTTP(w, true)
	}},
	{"disk cache: a clean workspace tests with them and does not boot", func(d *driver) error {
		w, cache := d.first, filepath.Join(d.scratch, "disk_cache")
		for _, cacheHit := range []bool{false, true} {
			if err := w.clean(); err != nil {
				return err
			}
			if err := d.bootsIn(w, cacheHit, "--disk_cache="+cache); err != nil {
				return err
			}
		}
		size, err := largestFile(cache)
		if err == nil && size >= machineMemory/2 {
			err = fmt.Errorf("a file of the disk cache has %d bytes, want less than half of the guest's RAM of %d", size, machineMemory)
		}
		return err
	}},
}

// machineMemory is the memory of the machine in bytes.
const machineMemory = 32 << 20

// largestFile returns the size in bytes of the largest file in a folder.
func largestFile(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			size = max(size, info.Size())
		}
		return err
	})
	return size, err
}

// bootsInHTTP is bootsIn with the HTTP cache.
func (d *driver) bootsInHTTP(w *workspace, cacheHit bool, args ...string) error {
	if d.httpCache == "" {
		return skipped("the HTTP cache did not start")
	}
	return d.bootsIn(w, cacheHit, append(args, "--remote_cache="+d.httpCache)...)
}

// bootsIn runs the test of the chain, and checks where its layers and its snapshot come
// from. The RAM is always unpacked here.
func (d *driver) bootsIn(w *workspace, cacheHit bool, args ...string) error {
	if err := hasQEMU(); err != nil {
		return err
	}
	spawns, err := w.build("test", slices.Concat([]string{"//machines:saved_test", "--nocache_test_results"}, args)...)
	if err != nil {
		return err
	}
	for mnemonic, want := range boots {
		actions := withMnemonic(spawns, mnemonic)
		if len(actions) != want {
			return fmt.Errorf("got %d actions %s, want %d: %v", len(actions), mnemonic, want, spawns)
		}
		for _, action := range actions {
			if action.CacheHit != cacheHit {
				return fmt.Errorf("%v: got cache hit %v, want %v", action, action.CacheHit, cacheHit)
			}
		}
	}
	if actions := withMnemonic(spawns, unpacks); len(actions) != 1 || actions[0].CacheHit {
		return fmt.Errorf("got actions %s %v, want one that is not from a cache", unpacks, actions)
	}
	if tests := withMnemonic(spawns, "TestRunner"); len(tests) == 0 || tests[0].CacheHit {
		return errors.New("the test did not run")
	}
	return nil
}
