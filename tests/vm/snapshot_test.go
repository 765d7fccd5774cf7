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
	"github.com/rules-qcow2/rules_qcow2/go/vm/qemu"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
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

// A saved is the description of a snapshot target, which a test may change.
type saved struct {
	config, machine, fingerprint map[string]any
}

// resumes prepares a changed copy of a snapshot target as a boot test.
func resumes(t *testing.T, name string, change func(saved)) *inner {
	t.Helper()
	i := newInner(t, name)
	config := readJSON(t, i.cmd.Path+".vm.json")
	machine := config["machine"].(map[string]any)
	snapshot := machine["snapshot"].(map[string]any)
	path, err := runfiles.Rlocation(snapshot["fingerprint"].(string))
	if err != nil {
		t.Fatal(err)
	}
	fingerprint := readJSON(t, path)
	dir := t.TempDir()
	snapshot["fingerprint"] = filepath.Join(dir, "fingerprint.json")
	config["interactive"], config["exit_status"] = false, 0
	config["time_limit"], machine["time_limit_factor"] = 2, 5 // 10 s
	change(saved{config, machine, fingerprint})
	writeJSON(t, filepath.Join(dir, "fingerprint.json"), fingerprint)
	program := filepath.Join(dir, "copy")
	if err := os.Symlink(i.cmd.Path, program); err != nil {
		t.Fatal(err)
	}
	writeJSON(t, program+".vm.json", config)
	i.cmd.Path, i.cmd.Args = program, []string{program}
	return i
}

func unchanged(saved) {}

// Without a change, the machine resumes: this guest does not end.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	resumes(t, "saved", unchanged).fails(t,
		"//tests/vm:saved: the guest did not end within 10s", "the console is empty")
}

// Each field of the fingerprint counts.
func TestFingerprintFields(t *testing.T) {
	for field, test := range map[string]struct {
		value any
		words string
	}{
		"args":        {[]string{"-nodefaults"}, `the first QEMU argument that differs was missing and is "-no-user-config" here`},
		"accelerator": {"kvm", `the accelerator was "kvm" and is "tcg" here`},
		"arch":        {"riscv64", `arch was "riscv64" and is "x86_64" here`},
		"cpu_model":   {"qemu64", `cpu_model was "qemu64" and is "max" here`},
		"cpus":        {2, "cpus was 2 and is 1 here"},
		"firmware":    {"0", `the UEFI firmware (SHA-256) was "0" and is "" here`},
		"host_cpu":    {"A", `the host's processor was "A" and is "" here`},
		"initrd":      {"0", `the initrd (SHA-256) was "0" and is "`},
		"kernel":      {"0", `the kernel (SHA-256) was "0" and is "" here`},
		"machine":     {"pc", `machine was "pc" and is "q35" here`},
		"memory":      {"64M", `memory was "64M" and is "32M" here`},
		"qemu":        {"1.0", `QEMU was "1.0" and is "`},
		"qemu_build":  {"build ID 00", `the build of QEMU was "build ID 00" and is "build ID `},
	} {
		t.Run(field, func(t *testing.T) {
			i := resumes(t, "saved", func(s saved) {
				if field == "initrd" { // compared if the machine has it
					s.machine["initrd"] = s.machine["qemu"]
				}
				if field == "qemu" { // compared if the build is another
					s.fingerprint["qemu_build"] = ""
				}
				s.fingerprint[field] = test.value
			})
			i.fails(t, "//tests/vm:saved: the snapshot was saved with another environment: "+test.words, `set on_mismatch = "boot"`)
			if strings.Contains(i.log.String(), "after ") {
				t.Errorf("QEMU was started:\n%s", i.log.String())
			}
		})
	}
}

// Arguments of qemu_args count, and of their files the content.
func TestFingerprintOfQEMUArgs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "table")
	for name, test := range map[string]struct {
		args  []any
		words string
	}{
		"text":   {[]any{[]string{"-global"}, []string{"hpet.msi=on"}}, `the first QEMU argument that differs was "-display none" and is "-global hpet.msi=on" here`},
		"a file": {[]any{[]string{"-smbios"}, []string{"file=", file}}, `is "-smbios file=559aead08264d5795d3909718cdd05abd49572e84fe55590eef31a88a08fdffd" here`},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte("A"), 0o666); err != nil {
				t.Fatal(err)
			}
			resumes(t, "saved", func(s saved) { s.machine["qemu_args"] = test.args }).fails(t, test.words)
		})
	}
}

// QEMU refuses the state of another machine type.
func TestOtherMachineType(t *testing.T) {
	for name, words := range map[string]string{
		"pc-q35-7.1":               "Machine type received is 'pc-q35-",
		"pc-q35-0.1":               "unsupported machine type",
		"pc-q35-11.1,graphics=off": `fingerprint.json: machine_type = "pc-q35-11.1,graphics=off" is not the name of a machine type; build the snapshot again`,
	} {
		t.Run(name, func(t *testing.T) {
			resumes(t, "saved", func(s saved) { s.fingerprint["machine_type"] = name }).fails(t, words)
		})
	}
}

// Files of another release may have keys that the runner would ignore.
func TestUnknownKeys(t *testing.T) {
	for name, add := range map[string]func(saved){
		"copy.vm.json":               func(s saved) { s.config["new_key"] = true },
		"copy.vm.json of a machine":  func(s saved) { s.machine["new_key"] = true },
		"copy.vm.json of a snapshot": func(s saved) { s.machine["snapshot"].(map[string]any)["new_key"] = true },
		"fingerprint.json":           func(s saved) { s.fingerprint["new_key"] = true },
	} {
		t.Run(name, func(t *testing.T) {
			file, _, _ := strings.Cut(name, " ")
			resumes(t, "saved", add).fails(t, file+`: the key "new_key" is unknown; build the target again, with its rules and programs from one release of rules_qcow2`)
		})
	}
}

func TestUnknownKeysOfActions(t *testing.T) {
	saveFails(t, func(spec map[string]any) { spec["new_key"] = true }, `save.json: the key "new_key" is unknown; build`)
	i, _ := runLayer(t, func(spec map[string]any) { spec["new_key"] = true })
	i.fails(t, `layer.json: the key "new_key" is unknown; build`)
}

func TestFingerprintFieldsAreComplete(t *testing.T) {
	// These say how to resume.
	known := map[string]bool{"machine_type": true, "agent": true, "cards": true}
	resumes(t, "saved", func(s saved) {
		for field := range s.fingerprint {
			switch field {
			case "accelerator", "arch", "args", "cpu_model", "cpus", "firmware", "host_cpu", "initrd", "kernel", "machine", "memory", "qemu", "qemu_build":
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
	t.Parallel()
	i := resumes(t, "saved_or_boots", func(s saved) { s.fingerprint["qemu_build"] = "" })
	i.fails(t, "the guest did not end within 10s", "the machine boots and does not resume: ", console)
}

// The console's text from before the save satisfies no pattern.
func TestExpectAfterResume(t *testing.T) {
	t.Parallel()
	resumes(t, "saved", func(s saved) { s.config["expect"] = []string{"written"} }).fails(t,
		`the console did not show "written" within 10s`)
}

// A QEMU that cannot map a file privately that it may only read gets a copy of the
// RAM, and the log says so.
func TestOlderQEMU(t *testing.T) {
	t.Parallel()
	const version = "8.1.5"
	older := filepath.Join(t.TempDir(), "qemu")
	i := resumes(t, "saved", func(s saved) {
		program, err := runfiles.Rlocation(s.machine["qemu"].(string))
		if err != nil {
			t.Fatal(err)
		}
		// It refuses what an older QEMU does not know.
		script := fmt.Sprintf(`#!/bin/sh
case $* in
  --version) echo "QEMU emulator version %s" ;;
  *rom=off*) echo "Parameter 'rom' is unexpected" >&2; exit 1 ;;
  *) exec %q "$@" ;;
esac
`, version, program)
		if err := os.WriteFile(older, []byte(script), 0o777); err != nil {
			t.Fatal(err)
		}
		build, err := qemu.Build(older)
		if err != nil {
			t.Fatal(err)
		}
		s.machine["qemu"], s.fingerprint["qemu"], s.fingerprint["qemu_build"] = older, version, build
	})
	i.fails(t, "the guest did not end within 10s", "the console is empty",
		"the snapshot's RAM was copied, because QEMU 8.1.5 cannot map a read-only file privately; QEMU 8.2 and newer can")
}

// runSave prepares the build action of a snapshot of :vm. The outputs are in the folder
// that it returns.
func runSave(t *testing.T, change func(spec map[string]any)) (i *inner, dir string) {
	t.Helper()
	i = newInner(t, "vm")
	dir = t.TempDir()
	machine := readJSON(t, i.cmd.Path+".vm.json")["machine"].(map[string]any)
	machine["ready"] = map[string]any{"expect": []string{"sector 2: written"}}
	disk, err := runfiles.Rlocation(machine["disks"].([]any)[0].(map[string]any)["path"].(string))
	if err != nil {
		t.Fatal(err)
	}
	spec := map[string]any{
		"machine":    machine,
		"fail_on":    []string{},
		"time_limit": 60,
		"console":    filepath.Join(dir, "console.log"),
		"layers":     []any{map[string]any{"path": filepath.Join(dir, "disk0.qcow2"), "backing": disk}},
		"snapshot": map[string]any{
			"ram": filepath.Join(dir, "ram.qcow2"), "state": filepath.Join(dir, "state"), "fingerprint": filepath.Join(dir, "fingerprint.json"),
		},
	}
	if change != nil {
		change(spec)
	}
	path := filepath.Join(t.TempDir(), "save.json")
	writeJSON(t, path, spec)
	i.cmd = exec.Command(i.cmd.Path, "save-for-build", path)
	i.cmd.Env = append(os.Environ(), "TMPDIR="+i.tmp)
	i.cmd.Stdout, i.cmd.Stderr = &i.log, &i.log
	return i, dir
}

// saveFails runs the build action, which must fail with a log that has all the words,
// and without outputs.
func saveFails(t *testing.T, change func(spec map[string]any), words ...string) {
	t.Helper()
	i, dir := runSave(t, change)
	i.fails(t, words...)
	checkNoOutputs(t, dir)
}

func expects(patterns ...string) func(map[string]any) {
	return func(spec map[string]any) {
		spec["machine"].(map[string]any)["ready"] = map[string]any{"expect": patterns}
	}
}

func TestSave(t *testing.T) {
	i, dir := runSave(t, nil)
	if err := i.cmd.Run(); err != nil {
		t.Errorf("the action ended with %v:\n%s", err, i.log.String())
	}
	for _, output := range []string{"console.log", "disk0.qcow2", "fingerprint.json", "ram.qcow2", "state"} {
		if info, err := os.Stat(filepath.Join(dir, output)); err != nil || info.Size() == 0 {
			t.Errorf("the output %s is missing or empty (%v)", output, err)
		}
	}
	// It holds for the host's QEMU of that version, whatever q35 stands for in others.
	fingerprint := readJSON(t, filepath.Join(dir, "fingerprint.json"))
	if versioned, _ := fingerprint["machine_type"].(string); !strings.HasPrefix(versioned, "pc-q35-") || fingerprint["machine"] != "q35" {
		t.Errorf("the fingerprint has the machine %v and the type %v, want q35 and its version", fingerprint["machine"], fingerprint["machine_type"])
	}
	i.checkClean(t)
}

// The file that QEMU maps is sparse. The file that caches store is as small as its content.
func TestRAMOutputs(t *testing.T) {
	output := func(suffix string) (path string, size, allocated int64) {
		path, err := runfiles.Rlocation("rules_qcow2/tests/vm/saved" + suffix)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return path, info.Size(), info.Sys().(*syscall.Stat_t).Blocks * 512
	}
	const memory, most = 32 << 20, 8 << 20 // this guest's BIOS writes most of what is there
	ram, size, allocated := output(".ram")
	if size != memory || allocated > most {
		t.Errorf("saved.ram has %d bytes and takes %d on disk, want %d and at most %d", size, allocated, memory, most)
	}
	packed, size, _ := output(".ram.qcow2")
	if size > most {
		t.Errorf("saved.ram.qcow2 has %d bytes, want at most %d", size, most)
	}
	qemuimg.Must(t, "", "check", packed)
	qemuimg.Must(t, "", "compare", "-f", "raw", "-F", "qcow2", ram, packed)
}

// A machine that does not get ready is an error with the end of its console.
func TestSaveNotReady(t *testing.T) {
	t.Parallel()
	saveFails(t, func(spec map[string]any) {
		expects("never")(spec)
		spec["time_limit"], spec["machine"].(map[string]any)["time_limit_factor"] = 2, 5
	}, `the machine did not get ready: the console did not show "never": the time limit of 10s is over`, console)
}

func TestSaveFailOn(t *testing.T) {
	saveFails(t, func(spec map[string]any) {
		expects("never")(spec)
		spec["fail_on"] = []string{"written"}
	}, `the machine did not get ready: console matched fail_on pattern "written": "sector 2: written"`)
}

func TestSaveGuestEnds(t *testing.T) {
	saveFails(t, func(spec map[string]any) {
		expects("never")(spec)
		spec["machine"].(map[string]any)["debug_exit"] = true
	}, `the machine did not get ready: QEMU ended with exit status 33 before the console showed "never"`)
}

// A machine that is ready but cannot be saved.
func TestSaveFailsLate(t *testing.T) {
	saveFails(t, func(spec map[string]any) {
		spec["machine"].(map[string]any)["disks"].([]any)[0].(map[string]any)["interface"] = "nvme"
	}, "QEMU cannot save an nvme device; use virtio, scsi or ide")
}

// A canceled build ends QEMU.
func TestSaveCanceled(t *testing.T) {
	i, dir := runSave(t, expects("never"))
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "QEMU", func() bool { return len(i.processes()) > 0 })
	i.cmd.Process.Signal(syscall.SIGTERM)
	if err := i.cmd.Wait(); err == nil {
		t.Error("the action succeeded")
	}
	i.checkLog(t, "stopped by SIGTERM")
	i.checkClean(t)
	checkNoOutputs(t, dir)
}
