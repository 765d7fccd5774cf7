package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm"
)

// saveCommand is the first argument of a build action of qemu_snapshot. The second
// is the path of its saveSpec.
const saveCommand = "save-for-build"

// A saveSpec is what the rule qemu_snapshot writes for its build action. Paths are
// relative to the working directory.
type saveSpec struct {
	Machine   vm.Config   `json:"machine"`
	FailOn    []string    `json:"fail_on"`
	Cards     int         `json:"network_cards"`
	TimeLimit int         `json:"time_limit"` // in seconds
	Layers    []saveLayer `json:"layers"`
	Console   string      `json:"console"`
	Snapshot  vm.Snapshot `json:"snapshot"`
}

type saveLayer struct {
	Path    string `json:"path"`
	Backing string `json:"backing"`
}

// save is the build action of a qemu_snapshot: it boots the machine, waits until it
// is ready, and writes its state.
func save(path string) (target string, err error) {
	spec := &saveSpec{}
	b, err := os.ReadFile(path)
	if err != nil {
		return path, err
	}
	if err := json.Unmarshal(b, spec); err != nil {
		return path, fmt.Errorf("%s: %w", path, err)
	}
	err = locate(&spec.Machine)
	if err == nil {
		err = spec.save()
	}
	return spec.Machine.Target, err
}

func (spec *saveSpec) save() (err error) {
	c := &spec.Machine
	limit := time.Duration(spec.TimeLimit) * time.Second
	ctx, cancel := untilSignal(context.Background())
	defer cancel()
	ctx, stop := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the time limit of %v is over", limit))
	defer stop()
	dir, err := os.MkdirTemp("", "vm")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	console, err := os.Create(spec.Console)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, console.Close()) }()

	var layers []vm.Layer
	for i, layer := range spec.Layers {
		layers = append(layers, vm.Layer(layer))
		// By this name the layer finds the disk.
		c.Disks[i].Path = filepath.Join(filepath.Dir(layer.Path), layer.Backing)
	}
	m, err := vm.Start(ctx, c, vm.Options{
		Dir: dir, FailOn: spec.FailOn, Console: console,
		Agent: true, Saveable: true, Cards: spec.Cards, Layers: layers,
	})
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.WaitReady(ctx); err != nil {
		end := m.Close()
		if end.Failure != nil {
			err = end.Failure
		}
		return m.Report(fmt.Errorf("the machine did not get ready: %w", err))
	}
	snapshot, err := m.Freeze(ctx)
	if err != nil {
		return m.Report(err)
	}
	defer snapshot.Close()
	return snapshot.Export(&spec.Snapshot)
}
