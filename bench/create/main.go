// Command create compares one process of `qcow2gen create` with one process of
// `qemu-img create`, in turn, so that what else the machine does falls on both
// alike. It prints the ratio of the times, the memory and the disk space.
//
//	bazel run -c opt //bench/create
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

var rounds = flag.Int("rounds", 200, "how many pairs of processes to run for each size")

// measurement is what one process took.
type measurement struct {
	elapsed time.Duration
	rss     int64 // largest resident set, in KiB
	disk    int64 // of the image, in KiB
}

func main() {
	log.SetFlags(0)
	flag.Parse()
	qcow2gen, err := runfiles.Rlocation(os.Getenv("QCOW2GEN"))
	if err != nil {
		log.Fatal(err)
	}
	qemuImg, err := runfiles.Rlocation(os.Getenv("QEMU_IMG"))
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	fmt.Println("| size | qcow2gen | qemu-img | ratio (median; quartiles) | memory | disk |")
	fmt.Println("|---|---|---|---|---|---|")
	for _, size := range []string{"20G", "1P"} {
		var ours, theirs []measurement
		for range *rounds {
			ours = append(ours, create(qcow2gen, dir, size))
			theirs = append(theirs, create(qemuImg, dir, size))
		}
		report(size, ours, theirs)
	}
}

func create(program, dir, size string) measurement {
	image := filepath.Join(dir, "image.qcow2")
	os.Remove(image)
	cmd := exec.Command(program, "create", "-q", "-f", "qcow2", image, size)
	cmd.Stderr = os.Stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		log.Fatalf("%s: %v", cmd, err)
	}
	elapsed := time.Since(start)
	info, err := os.Stat(image)
	if err != nil {
		log.Fatal(err)
	}
	return measurement{
		elapsed: elapsed,
		rss:     cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss,
		disk:    info.Sys().(*syscall.Stat_t).Blocks / 2,
	}
}

func report(size string, ours, theirs []measurement) {
	var ourTimes, theirTimes, ratios []float64
	var rss, disk int64
	for i := range ours {
		ourTimes = append(ourTimes, ours[i].elapsed.Seconds()*1000)
		theirTimes = append(theirTimes, theirs[i].elapsed.Seconds()*1000)
		ratios = append(ratios, ourTimes[i]/theirTimes[i])
		rss, disk = max(rss, ours[i].rss), max(disk, ours[i].disk)
	}
	fmt.Printf("| %s | %.1f ms | %.1f ms | %.2f (%.2f to %.2f) | %.1f MiB | %d KiB |\n", size,
		quantile(ourTimes, 0.5), quantile(theirTimes, 0.5),
		quantile(ratios, 0.5), quantile(ratios, 0.25), quantile(ratios, 0.75), float64(rss)/1024, disk)
}

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}
