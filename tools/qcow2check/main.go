// Command qcow2check runs qemu-img check for a qcow2_check_test, which the file with its
// own name and the suffix ".check.json" describes: on the image and every image below it.
//
// It is not part of the runner, so that whoever only checks disks compiles nothing for
// machines.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

func main() {
	c, err := load(os.Args[0] + ".check.json")
	if err == nil {
		err = c.run()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", c.Target, err)
		os.Exit(1)
	}
}

// A check is the JSON file of a qcow2_check_test. Its paths are rlocation paths.
type check struct {
	Target  string `json:"target"`
	QEMUImg string `json:"qemu_img"`
	Image   string `json:"image"`
	Format  string `json:"format"` // "" to detect it
}

// A layer is an image of a chain, as in `qemu-img info --output=json`.
type layer struct {
	Filename string `json:"filename"`
	Format   string `json:"format"`
}

// load reads the file at path. With an error, the check has as much as
// could be read.
func load(path string) (*check, error) {
	c := &check{Target: path}
	b, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(b, c); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	for _, path := range []*string{&c.QEMUImg, &c.Image} {
		located, err := runfiles.Rlocation(*path)
		if err == nil {
			// qemu-img takes a colon in a relative path for the end of a protocol.
			located, err = filepath.Abs(located)
		}
		if err == nil {
			_, err = os.Stat(located)
		}
		if err != nil {
			return c, fmt.Errorf("the runfiles do not have %s: %w; run the test with bazel", *path, err)
		}
		*path = located
	}
	return c, nil
}

// run runs qemu-img check on the image and every image below it.
func (c *check) run() (err error) {
	var report strings.Builder
	defer func() {
		fmt.Print(report.String())
		if folder := os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR"); folder != "" {
			err = errors.Join(err, os.WriteFile(filepath.Join(folder, "check.txt"), []byte(report.String()), 0o666))
		}
	}()
	layers, err := c.chain()
	if err != nil {
		fmt.Fprintln(&report, err)
		return err
	}
	var wrong []string
	for _, layer := range layers {
		fmt.Fprintf(&report, "%s: %s\n", layer.Filename, layer.Format)
		if layer.Format == "raw" || layer.Format == "file" {
			report.WriteString("a raw image does not have metadata to check\n\n")
			continue
		}
		out, err := exec.Command(c.QEMUImg, "check", "-f", layer.Format, layer.Filename).CombinedOutput()
		fmt.Fprintf(&report, "%s\n", out)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%s: qemu-img check: %s", layer.Filename, meaning(err)))
		}
	}
	if wrong != nil {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

// chain returns the images from the uppermost downwards.
func (c *check) chain() ([]layer, error) {
	args := []string{"info", "--backing-chain", "--output=json"}
	if c.Format != "" {
		args = append(args, "-f", c.Format)
	}
	out, err := exec.Command(c.QEMUImg, append(args, c.Image)...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = errors.New(strings.TrimSpace(string(exit.Stderr)))
		}
		return nil, fmt.Errorf("qemu-img info: %w", err)
	}
	var layers []layer
	if err := json.Unmarshal(out, &layers); err != nil {
		return nil, fmt.Errorf("qemu-img info: %w", err)
	}
	return layers, nil
}

// meaning explains the exit status of qemu-img check.
func meaning(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		switch exit.ExitCode() {
		case 1:
			return "the check could not be completed"
		case 2:
			return "the image is corrupt; create it again, or repair it with qemu-img check -r all"
		case 3:
			return "the image has leaked clusters, which take space; create it again, or free them with qemu-img check -r leaks"
		case 63:
			return "the format does not support checks"
		}
	}
	return err.Error()
}
