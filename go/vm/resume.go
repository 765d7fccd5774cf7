package vm

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
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
	from, err = openSnapshot(c)
	if errors.As(err, &mismatch) && c.Snapshot.OnMismatch == "boot" {
		return nil, mismatch, nil
	}
	return from, nil, err
}

// openSnapshot opens the snapshot of a machine, whose description it pins: to the
// fingerprint's accelerator and machine type. A plan.MismatchError says why the machine
// cannot resume here.
func openSnapshot(c *machine.Config) (*Snapshot, error) {
	saved := &plan.Fingerprint{}
	if err := machine.ReadJSON(c.Snapshot.Fingerprint, saved); err != nil {
		return nil, err
	}
	accelerator := c.Accel
	if accelerator == "auto" && saved.Accelerator == "tcg" {
		accelerator = "tcg" // every host has it
	}
	accelerator, err := qemu.Accelerator(accelerator, c.Arch)
	if err != nil {
		return nil, err
	}
	here, err := newFingerprint(c, accelerator, saved.Agent, saved.Cards)
	if err != nil {
		return nil, err
	}
	if c.Initrd == "" { // it is not needed to resume
		here.Initrd = saved.Initrd
	}
	if err := saved.Compare(here); err != nil {
		return nil, err
	}
	pinned := *c
	pinned.Accel = accelerator
	_, options, _ := strings.Cut(c.Machine, ",")
	pinned.Machine = saved.MachineType
	if options != "" {
		pinned.Machine += "," + options
	}
	return &Snapshot{config: &pinned, files: *c.Snapshot, fingerprint: saved}, nil
}

// newFingerprint returns the fingerprint of a machine, without the part that only a
// running QEMU knows. It runs QEMU for its version.
func newFingerprint(c *machine.Config, accelerator string, agent bool, cards []plan.Card) (*plan.Fingerprint, error) {
	facts := plan.Facts{Accelerator: accelerator}
	find := []func() error{
		func() (err error) { facts.QEMU, err = qemu.Version(c.QEMU); return err },
		func() (err error) { facts.Kernel, err = digest(c.Kernel); return err },
		func() (err error) { facts.Initrd, err = digest(c.Initrd); return err },
		func() (err error) { facts.Firmware, err = digest(c.UEFICode); return err },
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
	return plan.NewFingerprint(c, facts, agent, cards)
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
