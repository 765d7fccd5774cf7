package vm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/go/vm/plan"
	"github.com/rules-qcow2/rules_qcow2/go/vm/qemu"
	"github.com/rules-qcow2/rules_qcow2/internal/need"
)

// mayDiffer are the fields of a machine.Config that the fingerprint leaves out, with the
// reason why a machine may resume with another value.
var mayDiffer = map[string]string{
	"Target":               "names the target in errors",
	"QEMUImg":              "only a layer that is built uses it",
	"DataDirs":             "QEMU restores the content of ROMs: see TestROMsAreSaved",
	"UEFIVars":             "the snapshot has the variables",
	"Disks[0].Path":        "the snapshot's layer is opened, and it names its backing file",
	"Disks[0].Format":      "the snapshot's layers are qcow2",
	"Files[0].Path":        "a qemu_snapshot refuses files",
	"Files[0].Name":        "a qemu_snapshot refuses files",
	"AgentProgram":         "the agent that the guest runs is in its RAM",
	"Ready":                "says when a machine can be saved, or is ready after a boot",
	"TimeLimitFactor":      "multiplies time limits of the host",
	"Snapshot.RAM":         "is the saved machine",
	"Snapshot.State":       "is the saved machine",
	"Snapshot.Layers":      "is the saved machine",
	"Snapshot.UEFIVars":    "is the saved machine",
	"Snapshot.OnMismatch":  "says what happens if the machine cannot resume",
	"Snapshot.AfterResume": "runs after the machine has resumed",
	"Snapshot.Runfiles":    "describes files in the guest",
}

// otherValues are valid values for fields that do not accept any.
var otherValues = map[string]any{
	"Accel":              "kvm",
	"Disks[0].Interface": "scsi",
	"Agent":              machine.AgentSystemd,
	"AgentChannel":       machine.ChannelSerial,
	"Network":            "none",
	"ForwardPorts[0]":    "tcp:2222:23",
}

// complete returns a machine whose fields all have a value, and whose paths exist.
func complete(t *testing.T) *machine.Config {
	t.Helper()
	dir := t.TempDir()
	file := func(name string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho version\n: "+name+"\n"), 0o777); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return &machine.Config{
		Target: "//:vm", QEMU: file("qemu"), QEMUImg: file("qemu-img"), DataDirs: []string{dir},
		Arch: "x86_64", Machine: "q35", CPUModel: "max", CPUs: 1, Memory: "32M", Accel: "tcg",
		UEFICode: file("code"), UEFIVars: file("vars"),
		Kernel: file("kernel"), Initrd: file("initrd"), KernelArgs: []string{"quiet"},
		Disks: []machine.Disk{{Path: file("disk"), Format: "raw", Interface: "virtio", Serial: "a", ReadOnly: true}},
		Files: []machine.File{{Path: file("file"), Name: "name"}}, FilesLabel: "LABEL",
		Network: "user", ForwardPorts: []string{"tcp:2222:22"}, Display: true,
		QEMUArgs: []machine.Argument{{"file=", file("argument")}},
		Agent:    machine.AgentCloudInit, AgentProgram: file("agent"), AgentChannel: machine.ChannelVirtio,
		Ready: &machine.Ready{Expect: []string{"a"}, Command: "true"},
		Snapshot: &machine.Snapshot{
			RAM: file("ram"), State: file("state"), Layers: []string{file("layer")}, UEFIVars: file("saved-vars"),
			Fingerprint: filepath.Join(dir, "fingerprint"), OnMismatch: "fail", AfterResume: "true", Runfiles: true,
		},
		TimeLimitFactor: 1, DebugExit: true,
	}
}

// export writes the fingerprint of a machine, as Snapshot.Export does.
func export(t *testing.T, c *machine.Config) {
	t.Helper()
	f, err := newFingerprint(c, "tcg", &plan.Fingerprint{Agent: true, Cards: []plan.Card{{MAC: "52:54:00:00:00:01"}}})
	if err != nil {
		t.Fatal(err)
	}
	f.MachineType = "pc-q35-11.1"
	b, err := json.Marshal(f)
	if err == nil {
		err = os.WriteFile(c.Snapshot.Fingerprint, b, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// eachField calls visit for all fields of a value, with their names.
func eachField(t *testing.T, name string, v reflect.Value, visit func(name string, v reflect.Value)) {
	t.Helper()
	if v.IsZero() {
		t.Fatalf("the test needs a value for %s", name)
	}
	visit(name, v)
	switch v.Kind() {
	case reflect.Pointer:
		eachField(t, name, v.Elem(), visit)
	case reflect.Struct:
		for i := range v.NumField() {
			eachField(t, strings.TrimPrefix(name+"."+v.Type().Field(i).Name, "."), v.Field(i), visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			eachField(t, fmt.Sprintf("%s[%d]", name, i), v.Index(i), visit)
		}
	}
}

// change gives a field another value: a path that of a file with other content, a list one
// element less. It returns false for a value that consists of others.
func change(t *testing.T, name string, v reflect.Value) bool {
	t.Helper()
	if other, ok := otherValues[name]; ok {
		v.Set(reflect.ValueOf(other))
		return true
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(false)
	case reflect.Int:
		v.SetInt(v.Int() + 1)
	case reflect.String:
		if !filepath.IsAbs(v.String()) {
			v.SetString(v.String() + "x")
			break
		}
		other := filepath.Join(t.TempDir(), "other")
		if err := os.WriteFile(other, []byte("#!/bin/sh\necho other\n"), 0o777); err != nil {
			t.Fatal(err)
		}
		v.SetString(other)
	case reflect.Slice:
		v.Set(v.Slice(0, v.Len()-1))
	default:
		return false
	}
	return true
}

// A machine whose description differs does not resume, except in the fields of mayDiffer.
func TestFingerprintIsComplete(t *testing.T) {
	left := map[string]bool{}
	for name := range mayDiffer {
		left[name] = true
	}
	base := complete(t)
	export(t, base)
	if _, err := verifiedSnapshot(base); err != nil {
		t.Fatal(err)
	}
	eachField(t, "", reflect.ValueOf(base).Elem(), func(name string, _ reflect.Value) {
		if name == "Snapshot.Fingerprint" {
			return
		}
		excused := ""
		for n := name; n != ""; n = n[:max(strings.LastIndexAny(n, ".["), 0)] {
			if mayDiffer[n] != "" {
				excused = n
				delete(left, n)
			}
		}
		c := complete(t)
		c.Snapshot.Fingerprint = base.Snapshot.Fingerprint
		changed := false
		eachField(t, "", reflect.ValueOf(c).Elem(), func(n string, v reflect.Value) {
			changed = changed || n == name && change(t, n, v)
		})
		if !changed {
			return
		}
		_, err := verifiedSnapshot(c)
		var mismatch *plan.MismatchError
		switch refused := errors.As(err, &mismatch) || name == "Accel" && err != nil; {
		case !refused && excused == "":
			t.Errorf("a machine with another %s resumes (%v); add the field to plan.Fingerprint, or to mayDiffer with a reason", name, err)
		case refused && excused != "":
			t.Errorf("a machine with another %s does not resume: %v", name, err)
		}
	})
	for name := range left {
		t.Errorf("mayDiffer has %s, which no machine has", name)
	}
}

// A QEMU of the same build is not asked for its version. A script may start another QEMU.
func TestVersionOfSameBuild(t *testing.T) {
	shell, err := qemu.Build("/bin/sh")
	if err != nil || !qemu.HasBuildID(shell) {
		need.Skip(t, "/bin/sh does not have a build ID: %q, %v", shell, err)
	}
	c := complete(t)
	script, err := qemu.Build(c.QEMU)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, program, build string
		asked                bool
	}{
		{"the same build", "/bin/sh", shell, false},
		{"another build", "/bin/sh", "build ID 00", true},
		{"the same script", c.QEMU, script, true},
	} {
		c.QEMU = test.program
		f, err := newFingerprint(c, "tcg", &plan.Fingerprint{QEMU: "saved", QEMUBuild: test.build})
		if asked := err != nil || f.QEMU != "saved"; asked != test.asked { // not each shell has a version
			t.Errorf("%s: QEMU was asked for its version: %v, want %v", test.name, asked, test.asked)
		}
	}
}

// The digest of a folder is that of its files' names and contents.
func TestDigestTree(t *testing.T) {
	seen := map[string]string{}
	for _, files := range []map[string]string{
		{},
		{"a": "1"},
		{"a": "2"},
		{"b": "1"},
		{"sub/a": "1"},
		{"a": "1", "b": "1"},
	} {
		var digests []string
		for range 2 {
			dir := t.TempDir()
			for name, content := range files {
				path := filepath.Join(dir, name)
				err := os.MkdirAll(filepath.Dir(path), 0o777)
				if err == nil {
					err = os.WriteFile(path, []byte(content), 0o666)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			digest, err := digestTree(dir)
			if err != nil {
				t.Fatal(err)
			}
			digests = append(digests, digest)
		}
		if digests[0] != digests[1] || seen[digests[0]] != "" {
			t.Errorf("%v has the digests %q, and %s has the first", files, digests, seen[digests[0]])
		}
		seen[digests[0]] = fmt.Sprint(files)
	}
}

func TestMachineType(t *testing.T) {
	for name, valid := range map[string]bool{
		"pc-q35-11.1": true, "virt-11.1": true, "microvm": true, "sifive_u": true,
		"": false, "pc-q35-11.1,graphics=off": false, "-q35": false, "pc q35": false, "pc\n": false, "type=pc": false,
	} {
		c := complete(t)
		export(t, c)
		b, err := os.ReadFile(c.Snapshot.Fingerprint)
		if err != nil {
			t.Fatal(err)
		}
		value, _ := json.Marshal(name)
		b = bytes.Replace(b, []byte(`"pc-q35-11.1"`), value, 1)
		if err := os.WriteFile(c.Snapshot.Fingerprint, b, 0o666); err != nil {
			t.Fatal(err)
		}
		_, err = verifiedSnapshot(c)
		if valid && err != nil {
			t.Errorf("%q: %v", name, err)
		} else if !valid {
			wantWords(t, err, fmt.Sprintf("%s: machine_type = %q is not the name of a machine type; build the snapshot again", c.Snapshot.Fingerprint, name))
		}
	}
}

// verifiedSnapshot opens a snapshot from which a machine can start here.
func verifiedSnapshot(c *machine.Config) (*Snapshot, error) {
	s, err := openSnapshot(c)
	if err == nil {
		err = s.verify()
	}
	return s, err
}
