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
			"all", Setup{Agent: true, DebugPort: true, Cards: cards, Linked: 2},
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

// A machine has the devices that its fingerprint says, in the same order, whatever it is
// connected to.
func TestDevices(t *testing.T) {
	for _, way := range []string{machine.AgentInitrd, machine.AgentSystemd, machine.AgentCloudInit, machine.AgentInstalled} {
		c := &machine.Config{
			Arch: "x86_64", Machine: "q35", Memory: "32M", Agent: way, Display: true, Network: "user",
			Disks: []machine.Disk{{Interface: "virtio"}, {Interface: "scsi"}}, Files: []machine.File{{Path: "/x", Name: "x"}},
		}
		devices, err := Devices(c, true, cards)
		if err != nil {
			t.Fatal(err)
		}
		s := &Setup{
			Accelerator: "tcg", Layers: []string{"/a", "/b"}, Files: "/f", RAM: RAM{Path: "/ram", ReadOnly: true},
			Resumes: true, Console: Recorded, Agent: true, Cards: cards, Linked: 1,
		}
		if c.AgentOnDisk() {
			s.AgentDisk = "/agent"
		}
		p, err := Make(c, s)
		if err != nil {
			t.Fatal(err)
		}
		var have []string
		for i, arg := range p.Args {
			if arg == "-device" {
				have = append(have, p.Args[i+1])
			}
		}
		if !slices.Equal(have, devices) {
			t.Errorf("agent = %q: the machine has %q, the fingerprint %q", way, have, devices)
		}
	}
}

// Compare names the field that differs.
func TestCompare(t *testing.T) {
	c := &machine.Config{Arch: "x86_64", Machine: "q35", CPUModel: "max", CPUs: 1, Memory: "32M"}
	facts := Facts{QEMU: "8.2.0", Accelerator: "tcg", HostCPU: "cpu", Firmware: "f", Kernel: "k", Initrd: "i"}
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
		switch field.Kind() {
		case reflect.String:
			field.SetString("other")
		case reflect.Int:
			field.SetInt(7)
		default:
			field.Set(reflect.ValueOf([]string{"other"}))
		}
		err := saved.Compare(&here)
		if want := fmt.Sprintf("with another environment: %s was ", f.name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %q", f.field, err, want)
		}
	}
}
