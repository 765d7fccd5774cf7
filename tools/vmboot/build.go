package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
)

// buildActions are the build actions that boot a machine, by their first argument.
// The second argument is the path of the JSON file that the rule writes for it.
var buildActions = map[string]func(path string) (target string, err error){
	"save-for-build":  save,
	"layer-for-build": writeLayer,
}

// isBuildAction reports whether the arguments are those of one of buildActions.
func isBuildAction(args []string) bool { return len(args) == 2 && buildActions[args[0]] != nil }

// isUnpack reports whether the arguments are those of the build action that unpacks RAM:
// the path of the image and that of the output follow.
func isUnpack(args []string) bool { return len(args) == 3 && args[0] == "unpack-for-build" }

// A buildSpec is the machine of a build action. Paths outside Machine are relative to
// the working directory.
type buildSpec struct {
	Machine machine.Config `json:"machine"`
	// Paths is the path of a list: a path in Machine, a tab and the path here. Without it,
	// the paths in Machine are those of runfiles, as in all other files.
	Paths     string   `json:"paths"`
	Disks     []string `json:"disks"` // paths of the machine's disks
	FailOn    []string `json:"fail_on"`
	TimeLimit int      `json:"time_limit"` // in seconds
	Console   string   `json:"console"`    // path of the output with the console
}

// A buildLayer is an output: an image on a disk, which is a link next to it.
type buildLayer struct {
	Path    string `json:"path"`
	Backing string `json:"backing"` // relative to the folder of Path
}

// readSpec reads the JSON file of a build action, of which build is a part. It
// returns the target's label as soon as that is known.
func readSpec(path string, spec any, build *buildSpec) (target string, err error) {
	if err := machine.ReadJSON(path, spec); err != nil {
		return path, err
	}
	c := &build.Machine
	for i, disk := range build.Disks {
		if c.Disks[i].Path, err = filepath.Abs(disk); err != nil {
			return c.Target, err
		}
	}
	if build.Paths == "" {
		return c.Target, locate(c)
	}
	paths, err := readPaths(build.Paths)
	if err != nil {
		return c.Target, err
	}
	return c.Target, c.Locate(func(path string) (string, error) {
		if here, ok := paths[path]; ok || filepath.IsAbs(path) {
			return cmp.Or(here, path), nil
		}
		return "", errors.New("it is not an input of the action")
	})
}

// readPaths reads the list of Paths.
func readPaths(list string) (map[string]string, error) {
	b, err := os.ReadFile(list)
	if err != nil {
		return nil, err
	}
	paths := map[string]string{}
	for line := range strings.Lines(string(b)) {
		path, here, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		paths[path] = here
	}
	return paths, nil
}

// removeOutputs leaves nothing of a build action that failed.
func removeOutputs(paths ...string) {
	for _, path := range paths {
		os.Remove(path) // it may not exist
	}
}

// run boots the machine, calls use, and ends the machine. Options.Dir exists until it
// returns.
func (spec *buildSpec) run(o vm.Options, use func(ctx context.Context, m *vm.Machine) error) (err error) {
	limit := spec.Machine.TimeLimit(time.Duration(spec.TimeLimit) * time.Second)
	canceled, cancel := untilSignal(context.Background())
	defer cancel()
	ctx, stop := context.WithTimeoutCause(canceled, limit, &vm.TimeError{Text: fmt.Sprintf("the time limit of %v is over", limit)})
	defer stop()
	if o.Dir, err = os.MkdirTemp("", "vm"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
	console, err := os.Create(spec.Console)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, console.Close()) }()
	o.Console, o.FailOn, o.Agent = console, spec.FailOn, true
	m, err := vm.Start(ctx, &spec.Machine, o)
	if err != nil {
		return err
	}
	defer m.Close()
	// A canceled build does not wait for the guest.
	defer context.AfterFunc(canceled, m.Stop)()
	if err := use(ctx, m); err != nil {
		m.CollectLogs() // Report names the failed units
		if end := m.Close(); end.Failure != nil && !strings.Contains(err.Error(), end.Failure.Error()) {
			err = fmt.Errorf("%w: %w", err, end.Failure)
		}
		return m.Report(err)
	}
	return nil
}
