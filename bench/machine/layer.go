package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rules-qcow2/rules_qcow2/bench/measure"
	"github.com/rules-qcow2/rules_qcow2/bench/report"
	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
)

// Targets of e2e/debian, without "//".
const (
	base  = "debian13"
	layer = "layers/with_nginx"
	saved = "layers/nginx_up"
)

const (
	layerTests = 20
	layerReady = "systemctl is-active nginx"
)

// layers measures a layer that a guest writes.
type layers struct {
	*measure.Env
	workspace workspace
	execroot  string
	spec      layerSpec
	vm        *machine.Config // without the layer
}

// layerSpec has the parts of the build action's file that the other ways need.
type layerSpec struct {
	Disks []string `json:"disks"`
	Files []struct {
		Path string `json:"path"`
		To   string `json:"to"`
	} `json:"files"`
	Steps []struct {
		Line string `json:"line"`
	} `json:"steps"`
	Layer struct {
		Path string `json:"path"`
	} `json:"layer"`
}

// RunLayer measures the layer //layers:with_nginx of e2e/debian in a checkout.
func RunLayer(env *measure.Env, checkout string) ([]report.Table, error) {
	l := &layers{Env: env, workspace: workspace(filepath.Join(checkout, "e2e", "debian"))}
	if err := l.load(); err != nil {
		return nil, err
	}
	image := filepath.Join(l.execroot, l.spec.Layer.Path)
	size, err := measure.DiskUsage(image)
	if err != nil {
		return nil, err
	}
	changed, err := differences(image, l.vm.Disks[0].Path)
	if err != nil {
		return nil, err
	}
	root, err := l.folder()
	if err != nil {
		return nil, err
	}
	steps, err := measure.Compare("", env.Rounds,
		measure.Contestant{Name: "qcow2_layer", Run: func() (measure.Sample, error) { return l.workspace.rebuild(layer, image) }},
		measure.Contestant{
			Name:    "chroot",
			Prepare: func() error { return l.prepareRoot(root) },
			Run:     func() (measure.Sample, error) { return l.inRoot(root + ".new") },
		},
	)
	if err != nil {
		return nil, err
	}
	tests, err := measure.Compare("", env.Rounds,
		measure.Contestant{Name: "each installs nginx", Run: l.withoutLayer},
		measure.Contestant{Name: "qcow2_layer", Run: func() (measure.Sample, error) { return l.withLayer(image) }},
		measure.Contestant{Name: "qcow2_layer, qemu_snapshot", Run: func() (measure.Sample, error) { return l.withSnapshot(image) }},
	)
	if err != nil {
		return nil, err
	}
	return []report.Table{{
		Name:  "layer",
		Title: "Writing a layer",
		Note: fmt.Sprintf("`%s` with nginx's packages, on Debian 13. The build action boots the guest, copies the packages, runs the step, seals, powers off and keeps the writes. "+
			"`chroot` is the step alone, as root of the host, in a folder with the root's files. "+
			"The layer has %.1f MiB; %.1f MiB of the disk differ from the base, in blocks of 4 KiB.", l.spec.Steps[0].Line, mib(size), mib(changed)),
		References:  []string{"chroot"},
		Comparisons: []measure.Comparison{steps},
	}, {
		Name:  "layer_tests",
		Title: fmt.Sprintf("%d tests of a program that is installed", layerTests),
		Note: fmt.Sprintf("A test starts a machine and runs `%s`; the first row installs nginx before. "+
			"The times are those of the builds and %d times that of one test.", layerReady, layerTests),
		References:  []string{"each installs nginx"},
		Comparisons: []measure.Comparison{tests},
	}}, nil
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// load builds the targets and reads how the layer is made.
func (l *layers) load() (err error) {
	if err := l.workspace.build(base, layer, saved); err != nil {
		return err
	}
	out, err := filepath.EvalSymlinks(filepath.Join(string(l.workspace), "bazel-out"))
	if err != nil {
		return err
	}
	l.execroot = filepath.Dir(out)
	b, err := os.ReadFile(l.workspace.path(layer) + ".layer-for-build.json")
	if err == nil {
		err = json.Unmarshal(b, &l.spec)
	}
	if err != nil {
		return err
	}
	l.vm, err = loadConfig(l.workspace.path(base))
	return err
}

// folder makes a folder with the files of the base, without mounting it.
func (l *layers) folder() (string, error) {
	raw, root := l.Path("root.raw"), l.Path("root")
	if err := os.Mkdir(root, 0o755); err != nil {
		return "", err
	}
	if _, err := measure.Process(l.Dir, l.QemuImg, "convert", "-O", "raw", l.vm.Disks[0].Path, raw); err != nil {
		return "", err
	}
	_, err := measure.Process(l.Dir, "debugfs", "-R", "rdump / "+root, raw)
	return root, err
}

// prepareRoot makes root.new, a copy of a folder with the files for the layer.
func (l *layers) prepareRoot(root string) error {
	if err := os.RemoveAll(root + ".new"); err != nil {
		return err
	}
	if _, err := measure.Process(l.Dir, "cp", "-a", root, root+".new"); err != nil {
		return err
	}
	for _, file := range l.spec.Files {
		to := filepath.Join(root+".new", file.To)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if _, err := measure.Process(l.execroot, "cp", "-L", file.Path, to); err != nil {
			return err
		}
	}
	return nil
}

func (l *layers) inRoot(root string) (measure.Sample, error) {
	return measure.Process(l.Dir, "chroot", root, "/bin/sh", "-ec", l.spec.Steps[0].Line)
}

// test measures one test in a machine, with steps before it.
func (l *layers) test(config *machine.Config, before func(ctx context.Context, m *vm.Machine) error) (measure.Sample, error) {
	return run(l.Env, config, func(ctx context.Context, m *vm.Machine) error {
		if before != nil {
			if err := before(ctx, m); err != nil {
				return err
			}
		}
		// The guest may still be booting.
		return shell(ctx, m, "until "+layerReady+"; do sleep 0.1; done")
	})
}

func (l *layers) withoutLayer() (measure.Sample, error) {
	sample, err := l.test(l.vm, func(ctx context.Context, m *vm.Machine) error {
		if err := m.WaitReady(ctx); err != nil {
			return err
		}
		for _, file := range l.spec.Files {
			path, err := filepath.EvalSymlinks(filepath.Join(l.execroot, file.Path))
			if err == nil {
				err = m.CopyTo(ctx, path, file.To)
			}
			if err != nil {
				return err
			}
		}
		return shell(ctx, m, l.spec.Steps[0].Line)
	})
	sample.Seconds *= layerTests
	return sample, err
}

func (l *layers) withLayer(image string) (measure.Sample, error) {
	built, err := l.workspace.rebuild(layer, image)
	if err != nil {
		return built, err
	}
	config := *l.vm
	config.Disks = []machine.Disk{config.Disks[0]}
	config.Disks[0].Path, config.Disks[0].Format = image, "qcow2"
	sample, err := l.test(&config, nil)
	sample.Seconds = built.Seconds + layerTests*sample.Seconds
	return sample, err
}

func (l *layers) withSnapshot(image string) (measure.Sample, error) {
	if err := os.Remove(image); err != nil {
		return measure.Sample{}, err
	}
	built, err := l.workspace.rebuild(saved, l.workspace.path(saved)+".ram.qcow2")
	if err != nil {
		return built, err
	}
	config, err := loadConfig(l.workspace.path(saved))
	if err != nil {
		return built, err
	}
	sample, err := l.test(config, nil)
	sample.Seconds = built.Seconds + layerTests*sample.Seconds
	return sample, err
}

// differences returns the size of the blocks of 4 KiB of a disk that differ from its
// base.
func differences(disk, base string) (int64, error) {
	const block = 4 << 10
	var disks [2]*qcow2.Disk
	for i, path := range []string{disk, base} {
		d, err := qcow2.OpenChain(path)
		if err != nil {
			return 0, err
		}
		defer d.Close()
		disks[i] = d
	}
	var b [2][1 << 20]byte
	sum := int64(0)
	for off := int64(0); off < disks[0].Size(); {
		n := int(min(int64(len(b[0])), disks[0].Size()-off))
		clear(b[1][:])
		for i, d := range disks {
			length := int(min(int64(n), d.Size()-off))
			if length <= 0 {
				continue
			}
			if got, err := d.ReadAt(b[i][:length], off); got < length {
				return 0, errors.Join(err, fmt.Errorf("%s: read of %d bytes at %d", []string{disk, base}[i], length, off))
			}
		}
		for at := 0; at < n; at += block {
			if end := min(at+block, n); !bytes.Equal(b[0][at:end], b[1][at:end]) {
				sum += int64(end - at)
			}
		}
		off += int64(n)
	}
	return sum, nil
}
