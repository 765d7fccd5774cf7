package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

var faultChecks = []check{
	{"faults: an overlay is built again when its base changes", changedBase},
	{"faults: a base that becomes larger than its overlay is an error", largerBase},
	{"faults: a read-only output folder fails the build, and the next build succeeds", readOnlyOutputs},
	{"faults: after SIGKILL in the middle of a build, all images are complete", killedBuilds},
}

// changedBase grows a base. The overlay without a size changes. The overlay on top of
// it, which has a size, does not.
func changedBase(d *driver) error {
	before, err := d.rebuilt()
	if err != nil {
		return err
	}
	if err := d.second.write("base.img", bytes.Repeat([]byte("S"), 8192)); err != nil {
		return err
	}
	if _, err := d.second.build("build", disks...); err != nil {
		return err
	}
	after, err := d.second.images()
	if err != nil {
		return err
	}
	for _, name := range []string{"on_source.qcow2", "on_source.qcow2.json"} {
		if before[name] == after[name] {
			return fmt.Errorf("%s did not change when the base grew", name)
		}
	}
	if name := "upper/on_overlay.qcow2"; before[name] != after[name] {
		return fmt.Errorf("%s changed, although its size is given", name)
	}
	return errors.Join(opensFromBazelBin(d.second), d.restored(before))
}

// largerBase grows the base of on_overlay, which has 64 MiB: the build succeeds as
// long as on_overlay is not smaller than the base.
func largerBase(d *driver) error {
	before, err := d.rebuilt()
	if err != nil {
		return err
	}
	// Sparse files: one of the same size as on_overlay, and one that is a sector larger.
	path := filepath.Join(d.second.dir, "base.img")
	if err := os.Truncate(path, 64<<20); err != nil {
		return err
	}
	if _, err := d.second.build("build", disks...); err != nil {
		return err
	}
	if err := os.Truncate(path, 64<<20+512); err != nil {
		return err
	}
	_, err = d.second.build("build", disks...)
	if err == nil || !strings.Contains(err.Error(), "on_overlay") || !strings.Contains(err.Error(), "67109376") {
		return fmt.Errorf("an overlay of 64 MiB on a base of 67109376 bytes: got error %v", err)
	}
	return d.restored(before)
}

// rebuilt builds all images, without a cache, and returns their digests.
func (d *driver) rebuilt() (map[string]string, error) {
	if err := d.second.clean(); err != nil {
		return nil, err
	}
	if _, err := d.second.build("build", disks...); err != nil {
		return nil, err
	}
	return d.second.images()
}

// restored restores the base, builds again and compares the images.
func (d *driver) restored(want map[string]string) error {
	if err := d.second.write("base.img", bytes.Repeat([]byte("S"), 4096)); err != nil {
		return err
	}
	if _, err := d.second.build("build", disks...); err != nil {
		return err
	}
	images, err := d.second.images()
	if err != nil {
		return err
	}
	return errors.Join(same(want, images), opensFromBazelBin(d.second))
}

// readOnlyOutputs makes the folder of the overlays immutable, because permissions do
// not stop root.
func readOnlyOutputs(d *driver) error {
	before, err := d.rebuilt()
	if err != nil {
		return err
	}
	bin, err := filepath.EvalSymlinks(filepath.Join(d.second.dir, "bazel-bin"))
	if err != nil {
		return err
	}
	folder := filepath.Join(bin, "upper")
	if out, err := exec.Command("chattr", "+i", folder).CombinedOutput(); err != nil {
		return skipped(fmt.Sprintf("chattr +i: %v: %s", err, bytes.TrimSpace(out)))
	}
	if err := d.second.write("base.img", bytes.Repeat([]byte("S"), 8192)); err != nil {
		return err
	}
	_, failure := d.second.build("build", disks...)
	if out, err := exec.Command("chattr", "-i", folder).CombinedOutput(); err != nil {
		return fmt.Errorf("chattr -i: %w: %s", err, out)
	}
	if failure == nil {
		return errors.New("the build succeeded with a read-only output folder")
	}
	return d.restored(before)
}

// killedBuilds kills Bazel's server and its processes several times. After each kill,
// before the next build, each image that exists must be complete.
func killedBuilds(d *driver) error {
	want, err := d.rebuilt()
	if err != nil {
		return err
	}
	// Bazel creates the link to it at the end of a build, so resolve it now.
	bin, err := filepath.EvalSymlinks(filepath.Join(d.second.dir, "bazel-bin"))
	if err != nil {
		return err
	}
	// A kill after the end of the build does not test anything. Builds are short.
	inTheMiddle := 0
	for n := 0; inTheMiddle < 2; n++ {
		if n == 8 {
			return fmt.Errorf("of %d kills, %d were in the middle of a build, want 2", n, inTheMiddle)
		}
		if err := d.second.clean(); err != nil {
			return err
		}
		pid, err := d.second.serverPID()
		if err != nil {
			return err
		}
		cmd := d.second.command(append([]string{"build", "--jobs=2", "--disk_cache=", "--extra_toolchains=//prebuilt:all"}, disks...)...)
		if err := cmd.Start(); err != nil {
			return err
		}
		// Wait for the first images, because machines differ in speed.
		for deadline := time.Now().Add(time.Minute); len(present(bin)) < 1+4*(n%2) && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(rand.N(20 * time.Millisecond))
		syscall.Kill(pid, syscall.SIGKILL)
		cmd.Wait()
		there := present(bin)
		if 0 < len(there) && len(there) < len(want) {
			inTheMiddle++
		}
		for _, name := range there {
			content, err := os.ReadFile(filepath.Join(bin, name))
			if err != nil {
				return err
			}
			if digest(content) != want[name] {
				return fmt.Errorf("after kill %d %s has %d bytes and the digest %s, want %s", n, name, len(content), digest(content), want[name])
			}
		}
		if _, err := d.second.build("build", disks...); err != nil {
			return err
		}
		images, err := d.second.images()
		if err := errors.Join(err, same(want, images), opensFromBazelBin(d.second)); err != nil {
			return fmt.Errorf("after kill %d: %w", n, err)
		}
	}
	return nil
}

// present returns the images and metadata files that are in a folder.
func present(bin string) []string {
	var names []string
	for image := range layers {
		for _, name := range []string{image, image + ".json"} {
			if _, err := os.Stat(filepath.Join(bin, name)); err == nil {
				names = append(names, name)
			}
		}
	}
	return names
}

// serverPID returns the process id of this workspace's server.
func (w *workspace) serverPID() (int, error) {
	out, err := w.command("info", "server_pid").Output()
	if err != nil {
		return 0, err
	}
	var pid int
	if _, err := fmt.Sscan(string(out), &pid); err != nil || pid < 2 {
		return 0, fmt.Errorf("bazel info server_pid printed %q, want a process id", out)
	}
	return pid, nil
}
