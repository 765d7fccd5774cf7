// Package guest measures the disks of virtual machines: the time to create one, to
// write to it and to read from it. qemu-img bench stands for the guest: it uses the
// same block layer, without the noise of a guest.
package guest

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"

	"github.com/rules-qcow2/rules_qcow2/bench/measure"
	"github.com/rules-qcow2/rules_qcow2/bench/report"
)

// Kinds of disk, by their names in tables.
const (
	ours     = "qcow2_overlay's default"
	qemus    = "qemu-img's default"
	fullCopy = "raw copy"
)

// A bench is the base that all disks start from.
type bench struct {
	*measure.Env
	base string // raw, full of data
	size int64  // in bytes
}

// Run runs all benchmarks of the package.
func Run(env *measure.Env) ([]report.Table, error) {
	b := &bench{env, env.Path("guest-base.raw"), env.Size(1<<30, 8<<20)}
	if err := writeRandom(b.base, b.size); err != nil {
		return nil, err
	}
	var tables []report.Table
	for _, run := range []func() (report.Table, error){b.runDisk, b.runWrite, b.runRead} {
		table, err := run()
		if err != nil {
			return nil, err
		}
		for _, c := range table.Comparisons {
			for _, samples := range c.Samples {
				for i := range samples {
					samples[i].Memory = 0 // not of interest here
				}
			}
		}
		tables = append(tables, table)
	}
	return tables, nil
}

// runDisk measures the time to create a disk to boot from.
func (b *bench) runDisk() (report.Table, error) {
	table := report.Table{
		Name:       "disk",
		Title:      "Creating a disk",
		Note:       fmt.Sprintf("Creates a disk for a guest from a raw base full of data (%d MiB).", b.size>>20),
		References: []string{"cp"},
	}
	disk := b.Path("disk")
	programs := [][]string{
		append([]string{"qcow2gen create", b.Qcow2gen}, overlayArguments(ours, b.base, "raw", disk)...),
		append([]string{"qemu-img create", b.QemuImg}, overlayArguments(qemus, b.base, "raw", disk)...),
		{"cp", "cp", "--reflink=never", b.base, disk},
		{"qemu-img convert", b.QemuImg, "convert", "-f", "raw", "-O", "qcow2", b.base, disk},
	}
	if _, err := measure.Process(b.Dir, "cp", "--reflink=always", b.base, disk); err == nil {
		programs = append(programs, []string{"cp --reflink", "cp", "--reflink=always", b.base, disk})
	} else {
		table.Note += " `cp --reflink` is missing: the file system of the scratch folder does not support reflinks."
	}
	for _, state := range states {
		var contestants []measure.Contestant
		for _, program := range programs {
			contestants = append(contestants, measure.Contestant{
				Name: program[0],
				Prepare: func() error {
					if err := remove(disk); err != nil {
						return err
					}
					return state.prepare(b.base)
				},
				Run: func() (measure.Sample, error) {
					sample, err := measure.Process(b.Dir, program[1], program[2:]...)
					if err != nil {
						return sample, err
					}
					sample.Disk, err = measure.DiskUsage(disk)
					return sample, err
				},
			})
		}
		comparison, err := measure.Compare("base "+state.name, b.Rounds, contestants...)
		if err != nil {
			return table, err
		}
		table.Comparisons = append(table.Comparisons, comparison)
	}
	return table, remove(disk)
}

// make creates a disk of the given kind on top of base, and returns its format.
func (b *bench) make(kind, base, baseFormat, disk string) (format string, err error) {
	if err := remove(disk); err != nil {
		return "", err
	}
	switch kind {
	case fullCopy:
		_, err = measure.Process(b.Dir, "cp", "--reflink=never", base, disk)
		return "raw", err
	case ours:
		_, err = measure.Process(b.Dir, b.Qcow2gen, overlayArguments(kind, base, baseFormat, disk)...)
	default:
		_, err = measure.Process(b.Dir, b.QemuImg, overlayArguments(kind, base, baseFormat, disk)...)
	}
	return "qcow2", err
}

func overlayArguments(kind, base, baseFormat, overlay string) []string {
	arguments := []string{"create", "-q", "-f", "qcow2", "-b", base, "-F", baseFormat}
	if kind == ours {
		arguments = append(arguments, "-o", "cluster_size=128K,extended_l2=on") // private/overlay_rule.bzl
	}
	return append(arguments, overlay)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// writeRandom writes data that cannot be compressed.
func writeRandom(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	if _, err := io.CopyN(w, rand.NewChaCha8([32]byte{}), size); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}
