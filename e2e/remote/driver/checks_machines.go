package main

import (
	"errors"
	"fmt"
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

var machineChecks = []check{
	{"HTTP cache: the first build boots for its layers and its snapshot", func(d *driver) error {
		return d.bootsIn(d.first, false)
	}},
	{"HTTP cache: another output base tests with them and does not boot", func(d *driver) error {
		return d.bootsIn(d.second, true)
	}},
	{"HTTP cache: another user tests with them and does not boot", func(d *driver) error {
		w, err := d.asNobody()
		if err != nil {
			return err
		}
		return d.bootsIn(w, true)
	}},
}

// bootsIn runs the test of the chain, and checks where its layers and its snapshot come
// from.
func (d *driver) bootsIn(w *workspace, cacheHit bool) error {
	if d.httpCache == "" {
		return skipped("the HTTP cache did not start")
	}
	if err := hasQEMU(); err != nil {
		return err
	}
	spawns, err := w.build("test", "//machines:saved_test", "--nocache_test_results", "--remote_cache="+d.httpCache)
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
	if tests := withMnemonic(spawns, "TestRunner"); len(tests) == 0 || tests[0].CacheHit {
		return errors.New("the test did not run")
	}
	return nil
}
