// Package create compares one process of `qcow2gen create` with one process of
// `qemu-img create`.
package create

import (
	"os"

	"github.com/rules-qcow2/rules_qcow2/bench/measure"
	"github.com/rules-qcow2/rules_qcow2/bench/report"
)

// Run measures an image of 20 GiB, and one of half the size that QEMU supports at
// most with its default clusters.
func Run(env *measure.Env) ([]report.Table, error) {
	table := report.Table{
		Name:  "create",
		Title: "An empty image",
		Note: `One process creates one image of that virtual size. Both write the same bytes: ` +
			"`create -q -f qcow2 FILE SIZE`" + `. Memory is the largest resident set of the process.`,
		References: []string{"qemu-img"},
	}
	// A process takes milliseconds, so stable medians need many rounds.
	rounds := env.Rounds
	if !env.Quick {
		rounds *= 40
	}
	for _, size := range []struct{ name, argument string }{{"20 GiB", "20G"}, {"1 PiB", "1P"}} {
		contestant := func(name, program string) measure.Contestant {
			image := env.Path("create.qcow2")
			return measure.Contestant{
				Name: name,
				Prepare: func() error {
					if err := os.Remove(image); err != nil && !os.IsNotExist(err) {
						return err
					}
					return nil
				},
				Run: func() (measure.Sample, error) {
					sample, err := measure.Process(env.Dir, program, "create", "-q", "-f", "qcow2", image, size.argument)
					if err != nil {
						return sample, err
					}
					sample.Disk, err = measure.DiskUsage(image)
					return sample, err
				},
			}
		}
		comparison, err := measure.Compare(size.name, rounds,
			contestant("qcow2gen", env.Qcow2gen), contestant("qemu-img", env.QemuImg))
		if err != nil {
			return nil, err
		}
		table.Comparisons = append(table.Comparisons, comparison)
	}
	return []report.Table{table}, nil
}
