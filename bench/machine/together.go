package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rules-qcow2/rules_qcow2/bench/measure"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
)

// measureTogether compares machines that resume at the same time.
func (g *guest) measureTogether() (measure.Comparison, error) {
	var contestants []measure.Contestant
	for _, n := range []int{1, 4, 8} {
		contestants = append(contestants, measure.Contestant{Name: strconv.Itoa(n), Run: func() (measure.Sample, error) { return g.together(n) }})
	}
	return measure.Compare(g.name, g.env.Rounds, contestants...)
}

// together starts n machines at once.
func (g *guest) together(n int) (measure.Sample, error) {
	var (
		sample measure.Sample
		errs   = make([]error, n)
		ready  sync.WaitGroup // all machines, to be measured while they run
		ended  sync.WaitGroup
		done   = make(chan struct{})
	)
	ready.Add(n)
	debug.FreeOSMemory()
	before, err := pss("self")
	if err != nil {
		return sample, err
	}
	start := time.Now()
	for i := range n {
		ended.Add(1)
		go func() {
			defer ended.Done()
			started := sync.OnceFunc(ready.Done)
			defer started()
			_, errs[i] = run(g.env, g.exported, func(ctx context.Context, m *vm.Machine) error {
				defer func() {
					started()
					<-done
				}()
				return g.first(ctx, m)
			})
		}()
	}
	ready.Wait()
	sample.Seconds = time.Since(start).Seconds()
	after, err := pss("self")
	qemu, childrenErr := childrenPSS()
	close(done)
	ended.Wait()
	sample.Memory, sample.TestMemory = qemu/int64(n), max(after-before, 0)/int64(n)
	return sample, errors.Join(append(errs, err, childrenErr)...)
}

// childrenPSS returns the proportional set size in bytes of the processes that this
// one started, and of theirs.
func childrenPSS() (sum int64, err error) {
	pids := []string{"self"}
	for ; len(pids) > 0; pids = pids[1:] {
		// Each thread has its own children.
		lists, err := filepath.Glob(filepath.Join("/proc", pids[0], "task", "*", "children"))
		if err != nil {
			return 0, err
		}
		for _, list := range lists {
			b, err := os.ReadFile(list)
			if err != nil {
				return 0, err
			}
			pids = append(pids, strings.Fields(string(b))...)
		}
		if pids[0] == "self" {
			continue
		}
		size, err := pss(pids[0])
		if err != nil {
			return 0, err
		}
		sum += size
	}
	return sum, nil
}

// pss returns the proportional set size in bytes of a process.
func pss(pid string) (int64, error) {
	b, err := os.ReadFile(filepath.Join("/proc", pid, "smaps_rollup"))
	if err != nil {
		return 0, err
	}
	var kib int64
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "Pss:"); ok {
			fmt.Sscan(value, &kib)
		}
	}
	return kib << 10, nil
}
