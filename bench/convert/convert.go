// Package convert compares qcow2gen convert with qemu-img convert on a Debian root.
package convert

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/bench/measure"
	"github.com/rules-qcow2/rules_qcow2/bench/report"
	_ "github.com/rules-qcow2/rules_qcow2/go/qcow2/compress" // for Command
	"github.com/rules-qcow2/rules_qcow2/tools/qcow2gen/cli"
)

// Command as the first argument makes the program convert an image, in a process
// whose memory can be measured. The other arguments are those of qcow2gen convert.
const Command = "convert-disk"

// Main runs qcow2gen convert with the compressors. args begins with Command.
func Main(args []string) int {
	return cli.Main(append([]string{"qcow2gen", "convert"}, args[1:]...), os.Stdin, os.Stdout, os.Stderr)
}

// Run runs all benchmarks of the package. The root is that of Debian 13, which
// e2e/debian/make.sh in workspace makes. A quick run uses text instead.
func Run(env *measure.Env, workspace string) ([]report.Table, error) {
	root := ""
	if !env.Quick {
		folder, err := exec.Command(filepath.Join(workspace, "e2e/debian/make.sh"), "debian13").Output()
		if err != nil {
			return nil, fmt.Errorf("e2e/debian/make.sh debian13: %w", err)
		}
		root = filepath.Join(strings.TrimSpace(string(folder)), "root.img")
	}
	source := env.Path("root.raw")
	if err := copyRoot(root, source); err != nil {
		return nil, err
	}
	disk := env.Path("disk.raw")
	if err := makeDisk(source, disk, env.Size(4<<30, 64<<20)); err != nil {
		return nil, err
	}
	write, err := runWrites(env, []string{source, disk})
	if err != nil {
		return nil, err
	}
	read, err := runReads(env, source)
	if err != nil {
		return nil, err
	}
	return []report.Table{write, read}, nil
}

// A codec is a way to store a disk.
type codec struct {
	name    string
	options []string
}

var codecs = []codec{
	{"not compressed", nil},
	{"zlib", []string{"-c", "-o", "compression_type=zlib"}},
	{"zstd", []string{"-c", "-o", "compression_type=zstd"}},
}

// contestant converts source to target, which is removed before each run.
func contestant(env *measure.Env, name, program, target string, arguments ...string) measure.Contestant {
	return measure.Contestant{
		Name: name,
		Prepare: func() error {
			if err := os.Remove(target); !errors.Is(err, os.ErrNotExist) {
				return err
			}
			return nil
		},
		Run: func() (measure.Sample, error) {
			sample, err := measure.Process(env.Dir, program, append(arguments, target)...)
			if err == nil {
				sample.Disk, err = measure.DiskUsage(target)
			}
			return sample, err
		},
	}
}

func runWrites(env *measure.Env, sources []string) (report.Table, error) {
	table := report.Table{
		Name:  "convert",
		Title: "Converting a disk to qcow2",
		Note: "`convert -f raw -O qcow2` of a Debian root, and of a disk of 4 GiB that contains it, to a new file. " +
			"Both programs use clusters of 64 KiB and their default levels. The files are in the page cache.",
		References: []string{"qemu-img"},
	}
	for _, source := range sources {
		info, err := os.Stat(source)
		if err != nil {
			return table, err
		}
		for _, c := range codecs {
			arguments := append(append([]string{"-f", "raw", "-O", "qcow2"}, c.options...), source)
			qemu := append([]string{"convert"}, arguments...)
			comparison, err := measure.Compare(fmt.Sprintf("%s, %d MiB", c.name, info.Size()>>20), env.Rounds,
				contestant(env, "qcow2gen", env.Self, env.Path("ours.qcow2"), append([]string{Command}, arguments...)...),
				contestant(env, "qemu-img", env.QemuImg, env.Path("theirs.qcow2"), qemu...),
				contestant(env, "qemu-img -W -m 16", env.QemuImg, env.Path("unordered.qcow2"), append(qemu[:1:1], append([]string{"-W", "-m", "16"}, arguments...)...)...))
			if err != nil {
				return table, err
			}
			table.Comparisons = append(table.Comparisons, comparison)
		}
	}
	return table, nil
}

func runReads(env *measure.Env, source string) (report.Table, error) {
	table := report.Table{
		Name:       "convert_raw",
		Title:      "Converting a disk to raw",
		Note:       "`convert -f qcow2 -O raw` of images that qemu-img made of the same Debian root, to a new file.",
		References: []string{"qemu-img"},
	}
	for _, c := range codecs {
		image := env.Path(strings.ReplaceAll(c.name, " ", "-") + ".qcow2")
		arguments := append(append([]string{"convert", "-f", "raw", "-O", "qcow2"}, c.options...), source, image)
		if _, err := measure.Process(env.Dir, env.QemuImg, arguments...); err != nil {
			return table, err
		}
		comparison, err := measure.Compare(c.name, env.Rounds,
			contestant(env, "qcow2gen", env.Self, env.Path("ours.raw"), Command, "-f", "qcow2", "-O", "raw", image),
			contestant(env, "qemu-img", env.QemuImg, env.Path("theirs.raw"), "convert", "-f", "qcow2", "-O", "raw", image))
		if err != nil {
			return table, err
		}
		table.Comparisons = append(table.Comparisons, comparison)
	}
	return table, nil
}

// copyRoot copies the root, or writes text, to path.
func copyRoot(root, path string) error {
	to, err := os.Create(path)
	if err != nil {
		return err
	}
	defer to.Close()
	if root == "" {
		_, err = io.WriteString(to, strings.Repeat("text that stands for a Debian root\n", 100_000))
		return errors.Join(err, to.Close())
	}
	from, err := os.Open(root)
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// makeDisk makes a disk of size bytes with the root behind 1 MiB, where the first
// partition of most disks is.
func makeDisk(root, path string, size int64) error {
	from, err := os.Open(root)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Create(path)
	if err != nil {
		return err
	}
	defer to.Close()
	if _, err := to.Seek(1<<20, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	return errors.Join(to.Truncate(size), to.Close())
}
