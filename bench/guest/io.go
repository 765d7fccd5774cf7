package guest

import (
	"fmt"
	"strconv"

	"github.com/rules-qcow2/rules_qcow2/bench/measure"
	"github.com/rules-qcow2/rules_qcow2/bench/report"
)

const (
	small = 4 << 10
	large = 64 << 10
)

// An access is a run of requests of qemu-img bench.
type access struct {
	name  string
	write bool
	count int64
	size  int64 // of a request, in bytes
	step  int64 // from one to the next; after the end of the disk it continues at the start
}

func (b *bench) scattered(name string, write bool, count int64) access {
	// The disk's size is not a multiple of the step, so each pass visits other
	// places.
	step := (b.size/count/small)*small + 33*small
	return access{fmt.Sprintf("%d scattered 4 KiB %s", count, name), write, count, small, step}
}

func (b *bench) sequential(name string, write bool, length int64) access {
	return access{fmt.Sprintf("%d MiB of sequential 64 KiB %s", length>>20, name), write, length / large, large, large}
}

// run accesses the disk by QEMU with 16 requests at once, through the page cache.
func (b *bench) run(a access, disk, format string) (measure.Sample, error) {
	arguments := []string{"bench", "-q", "-f", format, "-t", "writeback", "-d", "16"}
	if a.write {
		// A run ends with the data in the page cache, as for a guest's write.
		arguments = append(arguments, "-w", "--pattern=165")
	}
	decimal := func(n int64) string { return strconv.FormatInt(n, 10) }
	arguments = append(arguments, "-c", decimal(a.count), "-s", decimal(a.size), "-S", decimal(a.step), disk)
	return measure.Process(b.Dir, b.QemuImg, arguments...)
}

func (b *bench) runWrite() (report.Table, error) {
	table := report.Table{
		Name:  "write",
		Title: "Writes of a guest",
		Note: fmt.Sprintf("Writes to a new disk on a raw base of %d MiB: `qemu-img bench -w -t writeback -d 16`. "+
			"Disk is the space that the guest's file takes afterwards.", b.size>>20),
		References: []string{qemus, fullCopy},
	}
	disk := b.Path("disk")
	for _, a := range []access{
		b.scattered("writes", true, b.Size(5000, 50)),
		b.sequential("writes", true, b.size/4),
	} {
		for _, state := range states {
			var contestants []measure.Contestant
			for _, kind := range []string{ours, qemus, fullCopy} {
				var format string
				contestants = append(contestants, measure.Contestant{
					Name: kind,
					Prepare: func() (err error) {
						if format, err = b.make(kind, b.base, "raw", disk); err != nil {
							return err
						}
						return state.prepare(b.base, disk)
					},
					Run: func() (measure.Sample, error) {
						sample, err := b.run(a, disk, format)
						if err != nil {
							return sample, err
						}
						// The file system allocates blocks when the data goes to disk.
						if err := cold(disk); err != nil {
							return sample, err
						}
						sample.Disk, err = measure.DiskUsage(disk)
						return sample, err
					},
				})
			}
			comparison, err := measure.Compare(a.name+", "+state.name, b.Rounds, contestants...)
			if err != nil {
				return table, err
			}
			table.Comparisons = append(table.Comparisons, comparison)
		}
	}
	return table, remove(disk)
}

func (b *bench) runRead() (report.Table, error) {
	table := report.Table{
		Name:  "chain",
		Title: "Reads of a guest through chains",
		Note: fmt.Sprintf("Reads from overlays on a raw base of %d MiB, and from the raw base. "+
			"The layers together have half of the disk's data, in turns of 64 KiB. `qemu-img bench -t writeback -d 16`.", b.size>>20),
		References: []string{qemus, fullCopy},
	}
	for _, length := range []int64{1, 3, 10} {
		disks := map[string][]string{fullCopy: {b.base}} // the top last
		for _, kind := range []string{ours, qemus} {
			layers, err := b.chain(kind, length)
			if err != nil {
				return table, err
			}
			disks[kind] = append([]string{b.base}, layers...)
		}
		for _, test := range []struct {
			access access
			state  state
		}{
			{b.scattered("reads", false, b.Size(50000, 50)), states[0]},
			{b.sequential("reads", false, b.size/2), states[0]},
			{b.sequential("reads", false, b.size/2), states[1]},
		} {
			var contestants []measure.Contestant
			for _, kind := range []string{ours, qemus, fullCopy} {
				files, format := disks[kind], "qcow2"
				if kind == fullCopy {
					format = "raw"
				}
				contestants = append(contestants, measure.Contestant{
					Name:    kind,
					Prepare: func() error { return test.state.prepare(files...) },
					Run:     func() (measure.Sample, error) { return b.run(test.access, files[len(files)-1], format) },
				})
			}
			name := fmt.Sprintf("%s, %s, chain of %d", test.access.name, test.state.name, length)
			comparison, err := measure.Compare(name, b.Rounds, contestants...)
			if err != nil {
				return table, err
			}
			table.Comparisons = append(table.Comparisons, comparison)
		}
	}
	return table, nil
}

// chain creates a chain of overlays on the base, and returns their paths, the
// lowest first.
func (b *bench) chain(kind string, length int64) ([]string, error) {
	var layers []string
	below, format := b.base, "raw"
	for i := range length {
		name := "ours"
		if kind == qemus {
			name = "qemus"
		}
		layer := b.Path(fmt.Sprintf("%s-%d.qcow2", name, i))
		if _, err := b.make(kind, below, format, layer); err != nil {
			return nil, err
		}
		step := 2 * length * large
		if _, err := measure.Process(b.Dir, b.QemuImg, "bench", "-q", "-w", "-f", "qcow2", "--pattern=90",
			"-c", fmt.Sprint(max(b.size/step, 1)), "-s", fmt.Sprint(large), "-o", fmt.Sprint(2*i*large), "-S", fmt.Sprint(step), layer); err != nil {
			return nil, err
		}
		layers, below, format = append(layers, layer), layer, "qcow2"
	}
	return layers, nil
}
