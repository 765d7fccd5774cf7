package plan

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
)

var cards = []Card{{MAC: "52:54:00:00:00:01"}, {MAC: "52:54:00:00:00:02"}}

// The arguments and Descriptors name the same files.
func TestDescriptors(t *testing.T) {
	c := &machine.Config{Arch: "x86_64", Machine: "q35", Memory: "32M"}
	for _, test := range []struct {
		name  string
		setup Setup
		want  []Descriptor
		has   []string
	}{
		{"nothing", Setup{Cards: cards}, nil, []string{"hubport,id=link0", "hubport,id=link1"}},
		{
			"all", Setup{Console: Recorded, Agent: true, Cards: cards, Linked: 2},
			[]Descriptor{Agent, Firmware, Network, Network},
			[]string{"socket,id=agent,fd=3", "socket,id=firmware,fd=4", "dgram,id=link0,local.type=fd,local.str=5", "dgram,id=link1,local.type=fd,local.str=6"},
		},
		{
			"a machine that resumes with one of two networks",
			Setup{Resumes: true, Agent: true, Cards: cards, Linked: 1},
			[]Descriptor{Agent, Network},
			[]string{"-incoming defer", "socket,id=agent,fd=3", "dgram,id=link0,local.type=fd,local.str=4", "hubport,id=link1"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := Make(c, &test.setup)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(p.Descriptors, test.want) {
				t.Errorf("the descriptors are %v, want %v", p.Descriptors, test.want)
			}
			line := strings.Join(p.Args, " ")
			for _, words := range test.has {
				if !strings.Contains(line, words) {
					t.Errorf("%q is not in %s", words, line)
				}
			}
		})
	}
}

// A machine that resumes has the arguments that its fingerprint says, in the same order,
// except for those of its connections and of the host.
func TestSavedArgs(t *testing.T) {
	for _, way := range []string{machine.AgentInitrd, machine.AgentSystemd, machine.AgentCloudInit, machine.AgentInstalled} {
		c := &machine.Config{
			Arch: "x86_64", Machine: "q35", CPUModel: "max", CPUs: 1, Memory: "32M", Agent: way, Display: true,
			DataDirs: []string{"/data"}, UEFICode: "/code", Kernel: "/kernel", Initrd: "/initrd",
			Disks:   []machine.Disk{{Path: "/disk", Interface: "virtio"}, {Interface: "scsi"}},
			Network: "user", ForwardPorts: []string{"tcp:2222:22", "udp:53"}, QEMUArgs: []machine.Argument{{"-a"}, {"b=", "/c"}},
		}
		s := &Setup{
			Accelerator: "tcg", Layers: []string{"/a", "/b"}, UEFIVars: "/vars", RAM: RAM{Path: "/ram"},
			Resumes: true, Console: Recorded, Agent: true, Cards: cards,
		}
		if c.AgentOnDisk() {
			s.AgentDisk = "/agent"
		}
		p, err := Make(c, s)
		if err != nil {
			t.Fatal(err)
		}
		// What is different on each host.
		want := strings.NewReplacer(
			"-L /data ", "", "/code", "CODE", "/kernel", "KERNEL", "/initrd", "INITRD", "/c", "C", "/vars", "", `"/a"`, `""`, `"/b"`, `""`, "/ram", "ram", "/agent", "agent",
			":2222-:22", ":0-:22",
		).Replace(strings.Join(p.Args, " "))
		f, err := NewFingerprint(c, &Facts{
			Accelerator: "tcg", Firmware: "CODE", Kernel: "KERNEL", Initrd: "INITRD", QEMUArgs: []machine.Argument{{"-a"}, {"b=", "C"}},
		}, true, cards)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(f.Args, " "); got != want {
			t.Errorf("agent = %q: the fingerprint has\n%s\nwant\n%s", way, got, want)
		}
	}
}

// TCG's max is without the features that make it slow. All others are as the user says.
func TestCPUModel(t *testing.T) {
	for _, test := range []struct{ arch, accelerator, model, want string }{
		{"x86_64", "tcg", "max", "max,erms=off,fsrm=off"},
		{"x86_64", "kvm", "max", "max"},
		{"aarch64", "tcg", "max", "max"},
		{"x86_64", "tcg", "max,erms=on", "max,erms=on"},
		{"x86_64", "tcg", "qemu64", "qemu64"},
	} {
		c := &machine.Config{Arch: test.arch, Machine: "none", CPUModel: test.model, CPUs: 1, Memory: "32M"}
		p, err := Make(c, &Setup{Accelerator: test.accelerator})
		if err != nil {
			t.Fatal(err)
		}
		if i := slices.Index(p.Args, "-cpu"); p.Args[i+1] != test.want {
			t.Errorf("%v: got %s", test, p.Args[i+1])
		}
	}
}

// Compare names the field that differs.
func TestCompare(t *testing.T) {
	c := &machine.Config{Arch: "x86_64", Machine: "q35", CPUModel: "max", CPUs: 1, Memory: "32M"}
	facts := &Facts{QEMU: "8.2.0", QEMUBuild: "b", Accelerator: "tcg", HostCPU: "cpu", Firmware: "f", Kernel: "k", Initrd: "i"}
	saved, err := NewFingerprint(c, facts, true, cards)
	if err != nil {
		t.Fatal(err)
	}
	if err := saved.Compare(saved); err != nil {
		t.Error(err)
	}
	for _, f := range fields {
		here := *saved
		field := reflect.ValueOf(&here).Elem().FieldByName(f.field)
		if field.Kind() == reflect.Int {
			field.SetInt(7)
		} else {
			field.SetString("other")
		}
		err := saved.Compare(&here)
		if want := fmt.Sprintf("with another environment: %s was ", f.name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %q", f.field, err, want)
		}
	}
}

// The error about the arguments has one of them.
func TestCompareArgs(t *testing.T) {
	for _, test := range []struct {
		saved, here []string
		want        string
	}{
		{[]string{"-a", "-b", "1"}, []string{"-a", "-b", "2", "-c"}, `was "-b 1" and is "-b 2" here; `},
		{[]string{"-a", "-b", "1"}, []string{"-a", "-c", "-d"}, `was "-b 1" and is "-c" here; `},
		{[]string{"-a"}, []string{"-a", "-b", "1"}, `was missing and is "-b 1" here; `},
		{[]string{"-a", "1"}, []string{"-a"}, `was "-a 1" and is missing here; `},
	} {
		err := (&Fingerprint{Args: test.saved}).Compare(&Fingerprint{Args: test.here})
		if want := "the first QEMU argument that differs " + test.want; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q, %q: got error %v, want %q", test.saved, test.here, err, want)
		}
	}
}
