package vm_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// runLayer prepares the build action of a layer on the first disk of :vm, whose guest
// does not have an agent. The outputs are in the folder that it returns.
func runLayer(t *testing.T, change func(spec map[string]any)) (i *inner, dir string) {
	t.Helper()
	i = newInner(t, "vm")
	dir = t.TempDir()
	machine := readJSON(t, i.cmd.Path+".vm.json")["machine"].(map[string]any)
	machine["ready"] = map[string]any{"expect": []string{"sector 2: written"}}
	machine["debug_exit"] = true
	spec := map[string]any{
		"machine":     machine,
		"time_limit":  30,
		"console":     filepath.Join(dir, "console.log"),
		"log":         filepath.Join(dir, "log"),
		"metadata":    filepath.Join(dir, "json"),
		"layer":       map[string]any{"path": filepath.Join(dir, "layer.qcow2"), "backing": "disk"},
		"exit_status": 33,
	}
	if change != nil {
		change(spec)
	}
	path := filepath.Join(t.TempDir(), "layer.json")
	writeJSON(t, path, spec)
	i.cmd = exec.Command(i.cmd.Path, "layer-for-build", path)
	i.cmd.Env = append(os.Environ(), "TMPDIR="+i.tmp)
	i.cmd.Stdout, i.cmd.Stderr = &i.log, &i.log
	return i, dir
}

func checkNoOutputs(t *testing.T, dir string) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("the action left %q, %v", left, err)
	}
}

func TestLayerWithoutAgent(t *testing.T) {
	for name, test := range map[string]struct {
		change func(spec map[string]any)
		words  string
	}{
		"exit status": {func(spec map[string]any) { spec["exit_status"] = 35 }, "QEMU ended with exit status 33, want exit status 35"},
		"power-off":   {func(spec map[string]any) { spec["exit_status"] = 0 }, "QEMU ended with exit status 33, want a power-off"},
		"console": {func(spec map[string]any) {
			spec["machine"].(map[string]any)["ready"] = map[string]any{"expect": []string{"never"}}
		}, `QEMU ended with exit status 33 before the console showed "never"`},
		"fail_on": {func(spec map[string]any) { spec["fail_on"] = []string{"sector 1"} }, `console matched fail_on pattern "sector 1"`},
		"hang": {func(spec map[string]any) {
			spec["machine"].(map[string]any)["debug_exit"] = false
			spec["time_limit"] = 5
		}, "the time limit of 5s is over"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i, dir := runLayer(t, test.change)
			i.fails(t, "//tests/vm:vm: "+test.words)
			checkNoOutputs(t, dir)
		})
	}
}
