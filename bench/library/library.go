// Package library compares go/qcow2 with qemu-img on images that have data: it
// checks, maps and reads them.
package library

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"

	"github.com/rules-qcow2/rules_qcow2/bench/measure"
	"github.com/rules-qcow2/rules_qcow2/bench/report"
	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	_ "github.com/rules-qcow2/rules_qcow2/go/qcow2/zstd" // which Read is to know
)

// Run runs all benchmarks of the package.
func Run(env *measure.Env) ([]report.Table, error) {
	metadata, err := runMetadata(env)
	if err != nil {
		return nil, err
	}
	reads, err := runReads(env)
	if err != nil {
		return nil, err
	}
	return []report.Table{metadata, reads}, nil
}

func runMetadata(env *measure.Env) (report.Table, error) {
	table := report.Table{
		Name:  "metadata",
		Title: "check and map",
		Note: "`check FILE` and `map --output=json FILE` on an image whose data clusters are spread " +
			"evenly over all L2 tables. The metadata is real; the data are holes.",
		References: []string{"qemu-img"},
	}
	virtualSize, allocated := uint64(env.Size(1<<40, 4<<30)), uint64(env.Size(16<<30, 64<<20))
	image := env.Path("scattered.qcow2")
	if err := makeScattered(image, virtualSize, allocated/clusterSize); err != nil {
		return table, err
	}
	defer os.Remove(image)
	for _, arguments := range [][]string{
		{"check", "-q", "-f", "qcow2", image},
		{"map", "--output=json", "-f", "qcow2", image},
	} {
		contestant := func(name, program string) measure.Contestant {
			return measure.Contestant{Name: name, Run: func() (measure.Sample, error) {
				return measure.Process(env.Dir, program, arguments...)
			}}
		}
		name := fmt.Sprintf("%s, %d GiB with %d MiB allocated", arguments[0], virtualSize>>30, allocated>>20)
		comparison, err := measure.Compare(name, env.Rounds,
			contestant("qcow2gen", env.Qcow2gen), contestant("qemu-img", env.QemuImg))
		if err != nil {
			return table, err
		}
		table.Comparisons = append(table.Comparisons, comparison)
	}
	return table, nil
}

func runReads(env *measure.Env) (report.Table, error) {
	table := report.Table{
		Name:  "read",
		Title: "Reading a whole disk",
		Note: "A process opens the image, reads the whole virtual disk and discards the data: `Disk.WriteTo` of " +
			"go/qcow2 to `io.Discard`, `qemu-img convert` to its `null-co`. The files are in the page cache.",
		References: []string{"qemu-img"},
	}
	size := env.Size(512<<20, 4<<20)
	if err := makeChain(env, size); err != nil {
		return table, err
	}
	for _, c := range []struct{ name, image string }{
		{"chain of three, not compressed", "chain.qcow2"},
		{"zlib", "zlib.qcow2"},
		{"zstd", "zstd.qcow2"},
	} {
		image := env.Path(c.image)
		comparison, err := measure.Compare(fmt.Sprintf("%s, %d MiB", c.name, size>>20), env.Rounds,
			measure.Contestant{Name: "go/qcow2", Run: func() (measure.Sample, error) {
				return measure.Process(env.Dir, env.Self, ReadCommand, image)
			}},
			measure.Contestant{Name: "qemu-img", Run: func() (measure.Sample, error) {
				return measure.Process(env.Dir, env.QemuImg, "convert", "-n", "--target-image-opts", image,
					fmt.Sprintf("driver=null-co,size=%d,read-zeroes=on", size))
			}})
		if err != nil {
			return table, err
		}
		table.Comparisons = append(table.Comparisons, comparison)
	}
	return table, nil
}

// ReadCommand as the first argument makes the program run Read on the second, in
// a process whose memory can be measured.
const ReadCommand = "read-disk"

// Read reads the whole disk at path.
func Read(path string) error {
	disk, err := qcow2.OpenChain(path, qcow2.OpenWithFormat(qcow2.FormatQCOW2))
	if err != nil {
		return err
	}
	defer disk.Close()
	_, err = disk.WriteTo(io.Discard)
	return err
}

// makeChain creates chain.qcow2 with two layers below it, each with a part of the
// data, and compressed images with the same content.
func makeChain(env *measure.Env, size int64) error {
	if err := writeText(env.Path("base.raw"), size); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(1, 0))
	const unit = 65536
	for _, layer := range []struct{ name, backing, format string }{
		{"middle.qcow2", "base.raw", "raw"},
		{"chain.qcow2", "middle.qcow2", "qcow2"},
	} {
		if _, err := measure.Process(env.Dir, env.QemuImg, "create", "-q", "-f", "qcow2", "-b", layer.backing, "-F", layer.format, layer.name); err != nil {
			return err
		}
		arguments := []string{"-f", "qcow2"}
		for range 200 {
			// Parts of the base, at other offsets.
			length := 1 + random.Int64N(16)
			arguments = append(arguments, "-c", fmt.Sprintf("write -q -s base.raw %d %d", random.Int64N(size/unit-16)*unit, unit*length))
		}
		if _, err := measure.Process(env.Dir, env.QemuIO, append(arguments, layer.name)...); err != nil {
			return err
		}
	}
	for _, method := range []string{"zlib", "zstd"} {
		if _, err := measure.Process(env.Dir, env.QemuImg, "convert", "-c", "-O", "qcow2", "-o", "compression_type="+method, "chain.qcow2", method+".qcow2"); err != nil {
			return err
		}
	}
	return nil
}

// writeText writes data that compresses like text.
func writeText(path string, size int64) error {
	random := rand.New(rand.NewPCG(1, 0))
	words := make([][]byte, 4096)
	for i := range words {
		words[i] = fmt.Appendf(nil, "%x ", random.Uint64()>>random.IntN(60))
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	for written := int64(0); written < size; {
		word := words[int(random.ExpFloat64()*300)%len(words)]
		word = word[:min(int64(len(word)), size-written)]
		if _, err := w.Write(word); err != nil {
			return err
		}
		written += int64(len(word))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}
