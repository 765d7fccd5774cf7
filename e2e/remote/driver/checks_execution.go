package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

var executionChecks = []check{
	{"remote execution: all actions run remotely and write the same images", executeRemotely},
	{"remote execution: the base of an overlay with size and backing_format is not uploaded", baseIsNotUploaded},
	{"remote execution: tests run remotely", testRemotely},
	{"remote execution: a client with an empty output base has only hits", func(d *driver) error {
		if d.executor == nil {
			return skipped("the remote executor did not start")
		}
		if err := d.second.clean(); err != nil {
			return err
		}
		spawns, err := d.second.build("build", d.remoteArgs(topLevel...)...)
		if err != nil {
			return err
		}
		images, err := d.second.images()
		if err != nil {
			return err
		}
		return errors.Join(mustHave(spawns, "remote cache hit", true), same(imagesOf(d.local), images), opensFromBazelBin(d.second))
	}},
}

func (d *driver) remoteArgs(args ...string) []string {
	// Actions must not fall back to this machine.
	return slices.Concat(disks, args, []string{"--remote_executor=" + d.executor.address, "--spawn_strategy=remote"})
}

func executeRemotely(d *driver) error {
	if len(d.local) == 0 {
		return skipped("the local build to compare with failed")
	}
	var err error
	if d.executor, err = d.startExecutor(); err != nil {
		return err
	}
	if err := d.first.clean(); err != nil {
		return err
	}
	spawns, err := d.first.build("build", d.remoteArgs("--remote_download_all")...)
	if err != nil {
		return err
	}
	images, err := d.first.images()
	if err != nil {
		return err
	}
	return errors.Join(mustHave(spawns, "remote", false), same(d.local, images), opensFromBazelBin(d.first))
}

// baseIsNotUploaded checks the storage, which has the inputs of all actions of the
// previous build.
func baseIsNotUploaded(d *driver) error {
	if d.executor == nil {
		return skipped("the remote executor did not start")
	}
	small := digest([]byte(strings.Repeat("S", 4096)))
	if !d.executor.has(small) {
		return fmt.Errorf("base.img (%s), an input of on_source, is not in the storage", small)
	}
	if d.executor.has(d.large) {
		return fmt.Errorf("large.img (%s), which is not an input of sized, is in the storage", d.large)
	}
	return nil
}

func testRemotely(d *driver) error {
	if d.executor == nil {
		return skipped("the remote executor did not start")
	}
	return d.testsPass(d.first, "remote", "--remote_executor="+d.executor.address, "--spawn_strategy=remote", "--remote_download_minimal")
}
