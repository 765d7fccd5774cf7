// Command qcow2check runs qemu-img check over an image and all images below
// it: the runner behind qcow2_check_test.
//
// What to check is in the file beside the program that has the same name and
// ".json" behind it.
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

// A config is what the rule wrote. Paths are those of the runfiles.
type config struct {
	Target  string `json:"target"`
	QEMUImg string `json:"qemu_img"`
	Image   string `json:"image"`
	Format  string `json:"format"` // "" to look at the first bytes
}

// A layer is a member of the chain as `qemu-img info --output=json` has it.
type layer struct {
	Filename string `json:"filename"`
	Format   string `json:"format"`
}

func main() {
	c, err := load(os.Args[0] + ".json")
	if err == nil {
		err = check(c)
	}
	if err != nil {
		target := os.Args[0]
		if c != nil {
			target = c.Target
		}
		fmt.Fprintf(os.Stderr, "%s: %v\n", target, err)
		os.Exit(1)
	}
}

func load(path string) (*config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := &config{}
	if err := json.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, path := range []*string{&c.QEMUImg, &c.Image} {
		located, err := runfiles.Rlocation(*path)
		if err != nil {
			return c, err
		}
		*path = located
	}
	return c, nil
}

// check checks every layer, and fails with all that is wrong.
func check(c *config) (err error) {
	var report strings.Builder
	defer func() {
		fmt.Print(report.String())
		if folder := os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR"); folder != "" {
			err = errors.Join(err, os.WriteFile(filepath.Join(folder, "check.txt"), []byte(report.String()), 0o666))
		}
	}()
	layers, err := chain(c)
	if err != nil {
		fmt.Fprintln(&report, err)
		return err
	}
	var wrong []string
	for _, layer := range layers {
		fmt.Fprintf(&report, "%s: %s\n", layer.Filename, layer.Format)
		if layer.Format == "raw" {
			report.WriteString("raw has nothing to check\n\n")
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

// chain returns the layers from the image downwards.
func chain(c *config) ([]layer, error) {
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

// meaning says what an exit status of qemu-img check means.
func meaning(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		switch exit.ExitCode() {
		case 1:
			return "the check could not be completed"
		case 2:
			return "the image is corrupt"
		case 3:
			return "the image has leaked clusters"
		case 63:
			return "the format knows no check"
		}
	}
	return err.Error()
}
