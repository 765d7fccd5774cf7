package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
)

// A saveSpec is the JSON file of the rule qemu_snapshot for its build action.
type saveSpec struct {
	buildSpec
	Cards    int              `json:"network_cards"`
	Layers   []buildLayer     `json:"layers"`   // one per disk
	Snapshot machine.Snapshot `json:"snapshot"` // RAM is the path of a qcow2 image
	Runfiles string           `json:"runfiles"` // path of a list of files for the guest's store; "" for none
}

// save is the build action of a qemu_snapshot: it boots the machine, waits until it
// is ready, and writes its state.
func save(path string) (target string, err error) {
	spec := &saveSpec{}
	if target, err = readSpec(path, spec, &spec.buildSpec); err != nil {
		return target, err
	}
	err = spec.write()
	if err != nil {
		s := &spec.Snapshot
		removeOutputs(spec.Console, s.RAM, s.State, s.UEFIVars, s.Fingerprint)
		for _, layer := range spec.Layers {
			removeOutputs(layer.Path)
		}
	}
	return target, err
}

func (spec *saveSpec) write() (err error) {
	dir, err := os.MkdirTemp("", "runfiles")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	o := vm.Options{Saveable: true, Cards: spec.Cards}
	for _, layer := range spec.Layers {
		o.Layers = append(o.Layers, vm.Layer(layer))
	}
	return spec.run(o, func(ctx context.Context, m *vm.Machine) error {
		if err := m.WaitReady(ctx); err != nil {
			return fmt.Errorf("the machine did not get ready: %w", err)
		}
		if spec.Runfiles != "" {
			if err := fillStore(ctx, m, spec.Runfiles, dir); err != nil {
				return fmt.Errorf("runfiles: %w", err)
			}
		}
		snapshot, err := m.Freeze(ctx)
		if err != nil {
			return err
		}
		defer snapshot.Close()
		if busy := snapshot.Busy(); busy != "" {
			fmt.Fprintf(os.Stderr, "%s: %s\n", spec.Machine.Target, busy)
		}
		files := spec.Snapshot
		files.RAM = ""
		return errors.Join(snapshot.Export(&files), packRAM(spec.Snapshot.RAM, snapshot.RAM()))
	})
}
