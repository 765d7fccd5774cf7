// Command library compares one process of `qcow2gen check` with one process of
// `qemu-img check`, in turn, so that what else the machine does falls on both
// alike. It prints the ratio of the times and the memory.
//
//	bazel run -c opt //bench/library
//
// Without Bazel, qcow2gen and qemu-img are those on PATH.
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

var rounds = flag.Int("rounds", 30, "how many pairs of processes to run for each image")

// measurement is what one process took.
type measurement struct {
	elapsed time.Duration
	rss     int64 // largest resident set, in KiB
}

func main() {
	log.SetFlags(0)
	flag.Parse()
	qcow2gen, qemuImg := locate("QCOW2GEN", "qcow2gen"), locate("QEMU_IMG", "qemu-img")
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	fmt.Println("| image | qcow2gen check | qemu-img check | ratio (median; quartiles) | memory |")
	fmt.Println("|---|---|---|---|---|")
	for _, image := range []struct {
		name         string
		virtualSize  uint64
		dataClusters uint64
	}{
		{"1 TiB virtual, 16 GiB allocated", 1 << 40, 16 << 30 / clusterSize},
		{"16 TiB virtual, 1 TiB allocated", 16 << 40, 1 << 40 / clusterSize},
	} {
		path := filepath.Join(dir, "image.qcow2")
		if err := makeScattered(path, image.virtualSize, image.dataClusters); err != nil {
			log.Fatal(err)
		}
		check(qcow2gen, path) // warms the page cache
		var ours, theirs []measurement
		for range *rounds {
			ours = append(ours, check(qcow2gen, path))
			theirs = append(theirs, check(qemuImg, path))
		}
		report(image.name, ours, theirs)
	}
}

// locate returns the program that the environment variable names as a
// runfile, else the one on PATH.
func locate(variable, program string) string {
	path, err := exec.LookPath(program)
	if rlocation := os.Getenv(variable); rlocation != "" {
		path, err = runfiles.Rlocation(rlocation)
	}
	if err != nil {
		log.Fatal(err)
	}
	return path
}

func check(program, image string) measurement {
	cmd := exec.Command(program, "check", "-q", "-f", "qcow2", image)
	cmd.Stderr = os.Stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		log.Fatalf("%s: %v", cmd, err)
	}
	return measurement{time.Since(start), cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss}
}

func report(name string, ours, theirs []measurement) {
	var ourTimes, theirTimes, ratios []float64
	var rss int64
	for i := range ours {
		ourTimes = append(ourTimes, ours[i].elapsed.Seconds()*1000)
		theirTimes = append(theirTimes, theirs[i].elapsed.Seconds()*1000)
		ratios = append(ratios, ourTimes[i]/theirTimes[i])
		rss = max(rss, ours[i].rss)
	}
	fmt.Printf("| %s | %.1f ms | %.1f ms | %.2f (%.2f to %.2f) | %.1f MiB |\n", name,
		quantile(ourTimes, 0.5), quantile(theirTimes, 0.5),
		quantile(ratios, 0.5), quantile(ratios, 0.25), quantile(ratios, 0.75), float64(rss)/1024)
}

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}
