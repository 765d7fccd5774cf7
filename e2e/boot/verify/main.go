// Command verify looks at what a guest left: its disks have what it wrote, and
// nothing below them has changed.
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

// writes is where the guest wrote 4 KiB of W.
var writes = []int{3*mib + 4096, 8*mib - 4096}

// digests is a file that sha256sum wrote when the images were built.
const digests = "rules_qcow2_e2e_boot/digests.txt"

func main() {
	err := checkDigests()
	disks := 0
	for ; os.Getenv(fmt.Sprintf("VM_DISK%d", disks)) != ""; disks++ {
		err = errors.Join(err, checkDisk(os.Getenv(fmt.Sprintf("VM_DISK%d", disks))))
	}
	if disks == 0 {
		err = errors.Join(err, errors.New("there is no VM_DISK0"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "verify:", err)
		os.Exit(1)
	}
	fmt.Printf("verify: %d disks are as they should be\n", disks)
}

// checkDigests checks that the images are what was built.
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
			return fmt.Errorf("%s has changed: its digest is %s, was %s", path, got, want)
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
		return fmt.Errorf("%s has nothing that the guest wrote", layer)
	}
	for _, offset := range writes {
		copy(want[offset:], bytes.Repeat([]byte{'W'}, 4096))
	}
	if !bytes.Equal(after, want) {
		return fmt.Errorf("%s has not what the guest wrote, and nothing else", layer)
	}
	return nil
}

// contents returns what a guest would read.
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
