package vm_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

// readJSON reads a JSON object.
func readJSON(t *testing.T, path string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	object := map[string]any{}
	if err := json.Unmarshal(b, &object); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return object
}

func writeJSON(t *testing.T, path string, object map[string]any) {
	t.Helper()
	b, err := json.Marshal(object)
	if err == nil {
		err = os.WriteFile(path, b, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// withFingerprint prepares a copy of a snapshot target with a changed fingerprint,
// as a boot test that resumes it.
func withFingerprint(t *testing.T, name string, change func(fingerprint map[string]any)) *inner {
	t.Helper()
	i := newInner(t, name)
	config := readJSON(t, i.cmd.Path+".vm.json")
	snapshot := config["snapshot"].(map[string]any)
	path, err := runfiles.Rlocation(snapshot["fingerprint"].(string))
	if err != nil {
		t.Fatal(err)
	}
	fingerprint := readJSON(t, path)
	change(fingerprint)
	dir := t.TempDir()
	snapshot["fingerprint"] = filepath.Join(dir, "fingerprint.json")
	writeJSON(t, filepath.Join(dir, "fingerprint.json"), fingerprint)
	config["interactive"], config["exit_status"], config["time_limit"] = false, 0, 3
	program := filepath.Join(dir, "copy")
	if err := os.Symlink(i.cmd.Path, program); err != nil {
		t.Fatal(err)
	}
	writeJSON(t, program+".vm.json", config)
	i.cmd.Path, i.cmd.Args = program, []string{program}
	return i
}

// Without a change, the machine resumes: this guest does not end.
func TestFingerprint(t *testing.T) {
	withFingerprint(t, "saved", func(map[string]any) {}).fails(t,
		"//tests/vm:saved: the guest did not end within 3s", "the console is empty")
}

// Each field of the fingerprint counts.
func TestFingerprintFields(t *testing.T) {
	for field, test := range map[string]struct {
		value any
		words string
	}{
		"accelerator": {"kvm", "the accelerator was"},
		"arch":        {"riscv64", "arch was"},
		"cpu_model":   {"qemu64", "cpu_model was"},
		"cpus":        {2, "cpus was 2 and is 1 here"},
		"devices":     {[]string{"VGA"}, `the list of devices was "VGA" and is`},
		"firmware":    {"0", "the UEFI firmware (SHA-256) was"},
		"host_cpu":    {"A", "the host's processor was"},
		"kernel":      {"0", "the kernel (SHA-256) was"},
		"machine":     {"pc", `machine was "pc" and is "q35" here`},
		"memory":      {"64M", `memory was "64M" and is "32M" here`},
		"qemu":        {"1.0", `QEMU was "1.0" and is`},
	} {
		t.Run(field, func(t *testing.T) {
			i := withFingerprint(t, "saved", func(fingerprint map[string]any) { fingerprint[field] = test.value })
			i.fails(t, "//tests/vm:saved: the snapshot was saved with another environment: "+test.words, `set on_mismatch = "boot"`)
			if strings.Contains(i.log.String(), "after ") {
				t.Errorf("QEMU was started:\n%s", i.log.String())
			}
		})
	}
}

func TestFingerprintFieldsAreComplete(t *testing.T) {
	// These say how to resume.
	known := map[string]bool{"machine_type": true, "agent": true, "cards": true}
	withFingerprint(t, "saved", func(fingerprint map[string]any) {
		for field := range fingerprint {
			switch field {
			case "accelerator", "arch", "cpu_model", "cpus", "devices", "firmware", "host_cpu", "kernel", "machine", "memory", "qemu":
			default:
				if !known[field] {
					t.Errorf("TestFingerprintFields lacks %q", field)
				}
			}
		}
	})
}

// With on_mismatch = "boot" the console shows a boot.
func TestOnMismatchBoot(t *testing.T) {
	i := withFingerprint(t, "saved_or_boots", func(fingerprint map[string]any) { fingerprint["qemu"] = "1.0" })
	i.fails(t, "the guest did not end within 3s", "the machine boots and does not resume: ", console)
}

// runSave prepares the build action of a snapshot of :vm.
func runSave(t *testing.T, change func(spec map[string]any)) *inner {
	t.Helper()
	i := newInner(t, "vm")
	dir := t.TempDir()
	spec := map[string]any{
		"machine":    readJSON(t, i.cmd.Path+".vm.json"),
		"fail_on":    []string{},
		"time_limit": 30,
		"console":    filepath.Join(dir, "console.log"),
		"snapshot": map[string]any{
			"ram": filepath.Join(dir, "ram"), "state": filepath.Join(dir, "state"), "fingerprint": filepath.Join(dir, "fingerprint.json"),
		},
	}
	spec["machine"].(map[string]any)["ready"] = map[string]any{"expect": []string{"sector 2: written"}}
	change(spec)
	path := filepath.Join(dir, "save.json")
	writeJSON(t, path, spec)
	i.cmd = exec.Command(i.cmd.Path, "save-for-build", path)
	i.cmd.Env = append(os.Environ(), "TMPDIR="+i.tmp)
	i.cmd.Stdout, i.cmd.Stderr = &i.log, &i.log
	return i
}

func expects(patterns ...string) func(map[string]any) {
	return func(spec map[string]any) {
		spec["machine"].(map[string]any)["ready"] = map[string]any{"expect": patterns}
		spec["time_limit"] = 5
	}
}

func TestSave(t *testing.T) {
	i := runSave(t, func(map[string]any) {})
	if err := i.cmd.Run(); err != nil {
		t.Errorf("the action ended with %v:\n%s", err, i.log.String())
	}
	i.checkClean(t)
}

// A machine that does not get ready is an error with the end of its console.
func TestSaveNotReady(t *testing.T) {
	runSave(t, expects("never")).fails(t,
		`the machine did not get ready: the console did not show "never": the time limit of 5s is over`, console)
}

func TestSaveFailOn(t *testing.T) {
	runSave(t, func(spec map[string]any) {
		expects("never")(spec)
		spec["fail_on"] = []string{"written"}
	}).fails(t, `the machine did not get ready: console matched fail_on pattern "written": "sector 2: written"`)
}

func TestSaveGuestEnds(t *testing.T) {
	runSave(t, func(spec map[string]any) {
		expects("never")(spec)
		spec["machine"].(map[string]any)["debug_exit"] = true
	}).fails(t, `the machine did not get ready: QEMU ended with exit status 33 before the console showed "never"`)
}

// A canceled build ends QEMU.
func TestSaveCanceled(t *testing.T) {
	i := runSave(t, func(spec map[string]any) {
		expects("never")(spec)
		spec["time_limit"] = 60
	})
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "QEMU", func() bool { return len(i.processes(t)) > 0 })
	i.cmd.Process.Signal(syscall.SIGTERM)
	if err := i.cmd.Wait(); err == nil {
		t.Error("the action succeeded")
	}
	i.checkLog(t, fmt.Sprintf("terminated by a signal (%v)", syscall.SIGTERM))
	i.checkClean(t)
}
