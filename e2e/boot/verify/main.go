// Command verify checks the disks of a guest: the private layers have its writes, and
// the layers below did not change.
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

const mib = 1 << 20

// writes are the offsets at which the guest wrote 4 KiB of W.
var writes = []int{3*mib + 4096, 8*mib - 4096}

// digests is a file that sha256sum wrote during the build.
const digests = "rules_qcow2_e2e_boot/digests.txt"

func main() {
	err := checkDigests()
	disks := 0
	for ; os.Getenv(fmt.Sprintf("VM_DISK%d", disks)) != ""; disks++ {
		err = errors.Join(err, checkDisk(os.Getenv(fmt.Sprintf("VM_DISK%d", disks))))
	}
	if disks == 0 {
		err = errors.Join(err, errors.New("$VM_DISK0 is not set"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "verify:", err)
		os.Exit(1)
	}
	fmt.Printf("verify: %d disks are correct\n", disks)
}

// checkDigests checks that the images have not changed since the build.
func checkDigests() error {
	list, err := runfiles.Rlocation(digests)
	if err != nil {
		return err
	}
	f, err := os.Open(list)
	if err != nil {
		return err
	}
	defer f.Close()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		want, path, _ := strings.Cut(lines.Text(), "  ")
		// bazel-out/CONFIGURATION/bin/PATH
		path = strings.Join(strings.Split(path, "/")[3:], "/")
		image, err := runfiles.Rlocation("rules_qcow2_e2e_boot/" + path)
		if err != nil {
			return err
		}
		got, err := digest(image)
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%s changed: its digest is %s, want %s", path, got, want)
		}
	}
	if n != 5 {
		return fmt.Errorf("%s has %d digests, want 5", digests, n)
	}
	return nil
}

func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

// checkDisk checks the layer that the guest wrote to, and the chain below it.
func checkDisk(layer string) error {
	chain, err := qemuImg("info", "--backing-chain", "--output=json", layer)
	if err != nil {
		return err
	}
	var images []struct{ Filename, Format string }
	if err := json.Unmarshal(chain, &images); err != nil {
		return err
	}
	// The private layer, three overlays, and the base.
	if len(images) != 5 {
		return fmt.Errorf("the chain of %s has %d layers, want 5", layer, len(images))
	}
	for _, image := range images {
		if image.Format != "qcow2" {
			continue
		}
		if out, err := qemuImg("check", image.Filename); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	}
	after, err := contents(layer)
	if err != nil {
		return err
	}
	want, err := contents(images[1].Filename)
	if err != nil {
		return err
	}
	if bytes.Equal(after, want) {
		return fmt.Errorf("%s does not have the guest's writes", layer)
	}
	for _, offset := range writes {
		copy(want[offset:], bytes.Repeat([]byte{'W'}, 4096))
	}
	if !bytes.Equal(after, want) {
		return fmt.Errorf("%s differs from the overlay by more than the guest's writes", layer)
	}
	return nil
}

// contents returns the data that a guest reads.
func contents(image string) ([]byte, error) {
	raw := filepath.Join(os.Getenv("TEST_TMPDIR"), "contents")
	defer os.Remove(raw)
	if out, err := qemuImg("convert", "-O", "raw", image, raw); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return os.ReadFile(raw)
}

func qemuImg(args ...string) ([]byte, error) {
	out, err := exec.Command(os.Getenv("VM_QEMU_IMG"), args...).CombinedOutput()
	if err != nil {
		return out, fmt.Errorf("qemu-img %q: %w", args, err)
	}
	return out, nil
}
