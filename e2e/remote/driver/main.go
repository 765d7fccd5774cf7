// Command driver builds images with a remote cache and a remote executor. It starts
// real servers on the loopback device, and several Bazels with separate output bases.
// ../checks.sh runs it.
//
// It prints "PASSED: name", "FAILED: name" or "SKIPPED: name: reason" for each
// check and exits with 1 if one failed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"time"
)

var (
	ruleset      = flag.String("ruleset", "", "folder of the ruleset")
	qcow2check   = flag.String("qcow2check", "", "path of the compiled program that checks images with qemu-img")
	qcow2convert = flag.String("qcow2convert", "", "path of the compiled generator with compressors")
	qcow2gen     = flag.String("qcow2gen", "", "path of the compiled generator")
	vm           = flag.String("vm", "", "path of the compiled program vm")
	vmboot       = flag.String("vmboot", "", "path of the compiled runner")
	bootDisk     = flag.String("boot-disk", "", "path of a disk that writes to itself and ends QEMU with exit status 33")
	only         = flag.String("only", "", "regular expression for the names of the checks to run; some need earlier ones")
)

// A driver is one run.
type driver struct {
	ctx     context.Context
	scratch string
	large   string // digest of the base that no action needs
	failed  bool

	// Results of checks for later checks.
	first, second *workspace
	nobody        *workspace // of another user
	httpCache     string
	executor      *executor
	local         map[string]string // digests of a build in `first`, without a cache
}

var started = time.Now()

// skipped is the reason why a check cannot run here.
type skipped string

func (s skipped) Error() string { return string(s) }

func main() {
	log.SetFlags(0)
	flag.Parse()
	// Pdeathsig ends a server when the thread that started it ends.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()

	scratch, err := os.MkdirTemp("", "rules_qcow2_remote")
	if err != nil {
		log.Fatal(err)
	}
	d := &driver{ctx: ctx, scratch: scratch}
	err = d.run()
	d.cleanUp()
	if err != nil {
		log.Fatal(err)
	}
	if d.failed {
		os.Exit(1)
	}
}

func (d *driver) run() error {
	// Another user needs access.
	if err := os.Chmod(d.scratch, 0o755); err != nil {
		return err
	}
	var err error
	if d.first, err = d.newWorkspace("first"); err != nil {
		return err
	}
	if d.second, err = d.newWorkspace("second/folder"); err != nil {
		return err
	}
	for _, group := range [][]check{cacheChecks, machineChecks, digestChecks, executionChecks, faultChecks} {
		for _, c := range group {
			if d.ctx.Err() != nil {
				return errors.New("interrupted")
			}
			d.check(c)
		}
	}
	return nil
}

type check struct {
	name string
	run  func(*driver) error
}

func (d *driver) check(c check) {
	if !regexp.MustCompile(*only).MatchString(c.name) {
		return
	}
	fmt.Printf("\n--- %s (%.0f s)\n", c.name, time.Since(started).Seconds())
	err := c.run(d)
	var reason skipped
	switch {
	case err == nil:
		fmt.Printf("PASSED: %s\n", c.name)
	case errors.As(err, &reason):
		fmt.Printf("SKIPPED: %s: %s\n", c.name, reason)
	default:
		fmt.Printf("%v\nFAILED: %s\n", err, c.name)
		d.failed = true
	}
}

// cleanUp ends all processes and removes all files.
func (d *driver) cleanUp() {
	d.ctx = context.Background()
	stopServers()
	for _, w := range workspaces {
		w.shutdown()
	}
	// Bazel's output folders are not writable.
	filepath.WalkDir(d.scratch, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			os.Chmod(path, 0o755)
		}
		return nil
	})
	if err := os.RemoveAll(d.scratch); err != nil {
		log.Print(err)
	}
}
