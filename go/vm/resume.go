package vm

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/go/vm/plan"
	"github.com/rules-qcow2/rules_qcow2/go/vm/qemu"
)

// resolve returns the snapshot from which a machine starts here, nil to boot. If it cannot
// resume and Config.Snapshot says that it boots then, mismatch says why.
func resolve(c *machine.Config) (from *Snapshot, mismatch *plan.MismatchError, err error) {
	if c.Snapshot == nil {
		return nil, nil, nil
	}
	if from, err = openSnapshot(c); err != nil || c.Snapshot.OnMismatch != "boot" {
		return from, nil, err
	}
	err = from.verify()
	if errors.As(err, &mismatch) {
		return nil, mismatch, nil
	}
	return from, nil, err
}

// machineType matches the name of a machine type, without options of -machine.
var machineType = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// openSnapshot opens the snapshot of a machine, whose description it pins: to the
// fingerprint's accelerator and machine type. Whether the machine can resume here is known
// after Snapshot.verify.
func openSnapshot(c *machine.Config) (*Snapshot, error) {
	saved := &plan.Fingerprint{}
	if err := machine.ReadJSON(c.Snapshot.Fingerprint, saved); err != nil {
		return nil, err
	}
	if !machineType.MatchString(saved.MachineType) {
		return nil, fmt.Errorf("%s: machine_type = %q is not the name of a machine type; build the snapshot again", c.Snapshot.Fingerprint, saved.MachineType)
	}
	accelerator := c.Accel
	if accelerator == "auto" && saved.Accelerator == "tcg" {
		accelerator = "tcg" // every host has it
	}
	accelerator, err := qemu.Accelerator(accelerator, c.Arch)
	if err != nil {
		return nil, err
	}
	pinned := *c
	pinned.Accel = accelerator
	_, options, _ := strings.Cut(c.Machine, ",")
	pinned.Machine = saved.MachineType
	if options != "" {
		pinned.Machine += "," + options
	}
	verify := sync.OnceValue(func() error {
		here, err := newFingerprint(c, accelerator, saved)
		if err != nil {
			return err
		}
		return saved.Compare(here)
	})
	return &Snapshot{config: &pinned, files: *c.Snapshot, fingerprint: saved, verify: verify}, nil
}

// newFingerprint returns the fingerprint of a machine with the agent and the cards of known,
// without the part that only a running QEMU knows. It runs QEMU for its version, unless
// known is of the same build.
func newFingerprint(c *machine.Config, accelerator string, known *plan.Fingerprint) (*plan.Fingerprint, error) {
	facts := &plan.Facts{Accelerator: accelerator}
	find := []func() error{
		func() (err error) {
			if facts.QEMUBuild, err = qemu.Build(c.QEMU); err != nil {
				return err
			}
			if facts.QEMU = known.QEMU; facts.QEMUBuild == known.QEMUBuild && qemu.HasBuildID(known.QEMUBuild) {
				return nil
			}
			facts.QEMU, err = qemu.Version(c.QEMU)
			return err
		},
		func() (err error) { facts.Kernel, err = digest(c.Kernel); return err },
		func() (err error) { facts.Initrd, err = digest(c.Initrd); return err },
		func() (err error) { facts.Firmware, err = digest(c.UEFICode); return err },
		func() (err error) { facts.QEMUArgs, err = digestPaths(c.QEMUArgs); return err },
	}
	if accelerator == "kvm" {
		find = append(find, func() (err error) { facts.HostCPU, err = qemu.HostCPU(); return err })
	}
	errs := make([]error, len(find))
	var wait sync.WaitGroup
	for i, f := range find {
		wait.Add(1)
		go func() {
			defer wait.Done()
			errs[i] = f()
		}()
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return plan.NewFingerprint(c, facts, known.Agent, known.Cards)
}

// digestPaths returns QEMU's arguments with the digest of each file or folder in place of
// its path.
func digestPaths(args []machine.Argument) ([]machine.Argument, error) {
	var digested []machine.Argument
	for _, arg := range args {
		arg = slices.Clone(arg)
		for i := 1; i < len(arg); i += 2 {
			var err error
			if arg[i], err = digestTree(arg[i]); err != nil {
				return nil, err
			}
		}
		digested = append(digested, arg)
	}
	return digested, nil
}

// digestTree returns the SHA-256 of a file, or one of the names and contents of all files in
// a folder. Links, as Bazel makes them, count as their targets.
func digestTree(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return digest(path)
	}
	entries, err := os.ReadDir(path) // sorted
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, entry := range entries {
		content, err := digestTree(filepath.Join(path, entry.Name()))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%q %s\n", entry.Name(), content)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// digest returns the SHA-256 of a file, "" for the path "".
func digest(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
