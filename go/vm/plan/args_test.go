package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
)

func TestArgs(t *testing.T) {
	for _, test := range []struct {
		name   string
		config machine.Config
		setup  Setup
		has    []string
		hasNot []string
	}{
		{
			"disks boot in order",
			machine.Config{Disks: []machine.Disk{{Interface: "virtio"}, {Interface: "nvme"}, {Interface: "ide"}}},
			Setup{Layers: []string{"/a", "/b", "/c"}},
			[]string{
				"-device virtio-blk-pci,drive=disk0,bootindex=0",
				"-device nvme,drive=disk1,serial=disk1,bootindex=1",
				"-device ide-hd,drive=disk2,bootindex=2",
				"-nic none",
			},
			nil,
		},
		{
			"a kernel boots before disks",
			machine.Config{Kernel: "/k", Initrd: "/i", KernelArgs: []string{"a", "b"}, Disks: []machine.Disk{{Interface: "virtio"}}},
			Setup{Layers: []string{"/a"}},
			[]string{"-kernel /k -initrd /i -append a b"},
			[]string{"bootindex"},
		},
		{
			"serial number, read-only",
			machine.Config{Disks: []machine.Disk{{Interface: "nvme", Serial: "x", ReadOnly: true}}},
			Setup{Layers: []string{"/a"}},
			[]string{"-device nvme,drive=disk0,serial=x,bootindex=0", `"read-only":true`},
			[]string{"serial=disk0"},
		},
		{
			"one controller for all SCSI disks",
			machine.Config{Disks: []machine.Disk{{Interface: "scsi"}, {Interface: "scsi", Serial: "x"}}},
			Setup{Layers: []string{"/a", "/b"}},
			[]string{"-device virtio-scsi-pci,id=scsi", "scsi-hd,bus=scsi.0,drive=disk0", "scsi-hd,bus=scsi.0,drive=disk1,serial=x,device_id=x"},
			nil,
		},
		{
			"microvm does not have PCI",
			machine.Config{Machine: "microvm", Arch: "x86_64", Display: true, Network: "user", Disks: []machine.Disk{{Interface: "virtio"}}},
			Setup{Layers: []string{"/a"}},
			[]string{"virtio-blk-device,drive=disk0", "virtio-net-device,netdev=net0"},
			[]string{"pci", "VGA", "bootindex", "romfile"},
		},
		{
			"UEFI with its variables",
			machine.Config{Machine: "q35", UEFICode: "/code"},
			Setup{UEFIVars: "/vars"},
			[]string{`"filename":"/vars"},"node-name":"uefi-vars","read-only":false`, `"filename":"/code"},"node-name":"uefi-code","read-only":true`, "-machine q35,pflash0=uefi-code,pflash1=uefi-vars"},
			nil,
		},
		{
			"network",
			machine.Config{Network: "user", ForwardPorts: []string{"tcp:22", "udp:5353:53"}},
			Setup{},
			[]string{"-netdev user,id=net0,hostfwd=tcp:127.0.0.1:0-:22,hostfwd=udp:127.0.0.1:5353-:53"},
			[]string{"-nic none"},
		},
		{
			"exit status",
			machine.Config{DebugExit: true},
			Setup{},
			[]string{"-device isa-debug-exit,iobase=0xf4,iosize=0x04"},
			nil,
		},
		{
			"data folders, files, further arguments",
			machine.Config{DataDirs: []string{"/d"}, QEMUArgs: []machine.Argument{{"-rtc"}, {"base=", "/p", ",x"}}, FilesLabel: "CIDATA"},
			Setup{Files: "/f"},
			[]string{"-L /d ", `"dir":"/f","driver":"vvfat","label":"CIDATA"`, "drive=files,serial=files", "-rtc base=/p,x"},
			[]string{"isa-debug-exit"},
		},
		{
			"an agent by initrd",
			machine.Config{Arch: "x86_64", Agent: machine.AgentInitrd, Kernel: "/k", Initrd: "/i", KernelArgs: []string{"a"}},
			Setup{Initrd: "/a"},
			[]string{"-kernel /k -initrd /a -append a rdinit=/rules_qcow2/agent no_timer_check"},
			nil,
		},
		{
			"an agent by initrd for another architecture",
			machine.Config{Arch: "aarch64", Agent: machine.AgentInitrd, Kernel: "/k"},
			Setup{Initrd: "/a"},
			[]string{"-append rdinit=/rules_qcow2/agent"},
			[]string{"no_timer_check"},
		},
		{
			"an agent by systemd comes after disks and files",
			machine.Config{Agent: machine.AgentSystemd, Disks: []machine.Disk{{Interface: "virtio"}}},
			Setup{Layers: []string{"/a"}, Files: "/f", AgentDisk: "/g"},
			[]string{
				"type=11,value=io.systemd.credential.binary:systemd.extra-unit.rules_qcow2_agent.service=",
				// [Unit]
				"io.systemd.credential.binary:systemd.unit-dropin.sysinit.target=W1VuaXRdC",
				"drive=files,serial=files -nic none -smbios",
				`"dir":"/g","driver":"vvfat","label":"RULES_QCOW2"`,
				"drive=agent-disk,serial=rules_qcow2",
			},
			nil,
		},
		{
			"an agent by cloud-init",
			machine.Config{Agent: machine.AgentCloudInit},
			Setup{AgentDisk: "/g"},
			[]string{`"dir":"/g","driver":"vvfat","label":"CIDATA"`},
			[]string{"smbios"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.setup.Accelerator = "tcg"
			p, err := Make(&test.config, &test.setup)
			if err != nil {
				t.Fatal(err)
			}
			line := strings.Join(p.Args, " ")
			for _, words := range test.has {
				if !strings.Contains(line, words) {
					t.Errorf("%q is not in %s", words, line)
				}
			}
			for _, words := range test.hasNot {
				if strings.Contains(line, words) {
					t.Errorf("%q is in %s", words, line)
				}
			}
		})
	}
}

// A machine that can resume has vmgenid only if no agent gives the guest random numbers.
func TestVMGENID(t *testing.T) {
	for _, c := range []struct {
		arch, machine string
		saveable      bool
		agent         bool
		want          bool
	}{
		{arch: "x86_64", machine: "q35", saveable: true, want: true},
		{arch: "x86_64", machine: "q35"},
		{arch: "x86_64", machine: "q35", saveable: true, agent: true},
		{arch: "x86_64", machine: "microvm", saveable: true},
		{arch: "aarch64", machine: "virt", saveable: true},
	} {
		setup := Setup{Accelerator: "tcg", Agent: c.agent}
		if c.saveable {
			setup.RAM.Path = "/ram"
		}
		p, err := Make(&machine.Config{Arch: c.arch, Machine: c.machine, Memory: "1M"}, &setup)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(strings.Join(p.Args, " "), "-device vmgenid,guid=auto"); got != c.want {
			t.Errorf("%+v: vmgenid: got %t", c, got)
		}
	}
}

func TestArgsUnknownInterface(t *testing.T) {
	c := machine.Config{Disks: []machine.Disk{{Path: "/d", Interface: "sata"}}}
	_, err := Make(&c, &Setup{Layers: []string{"/a"}})
	if want := `disk /d: interface "sata" is not supported; use virtio, nvme, ide or scsi`; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %q", err, want)
	}
}

// Linux would cut off the arguments that start the agent.
func TestLongCommandLine(t *testing.T) {
	for length, fits := range map[int]bool{1900: true, 2047: false, 3000: false} {
		c := machine.Config{Arch: "x86_64", Kernel: "/k", KernelArgs: []string{strings.Repeat("x", length)}}
		p, err := Make(&c, &Setup{Accelerator: "tcg", Initrd: "/i"})
		if fits {
			if line := p.Args[slices.Index(p.Args, "-append")+1]; err != nil || len(line) > maxCommandLine {
				t.Errorf("kernel_args of %d bytes: %v, a command line of %d bytes", length, err, len(line))
			}
			continue
		}
		with := length + len(" rdinit=/rules_qcow2/agent no_timer_check")
		if want := fmt.Sprintf("kernel_args is %d bytes long, and %d with the arguments that start the agent; Linux reads 2047 bytes", length, with); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
		if _, err := Make(&c, &Setup{}); err != nil {
			t.Errorf("kernel_args of %d bytes without an agent: %v", length, err)
		}
	}
}
