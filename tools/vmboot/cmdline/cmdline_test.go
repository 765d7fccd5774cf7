package cmdline_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/cmdline"
	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/config"
)

func TestArgs(t *testing.T) {
	one := 1
	for _, test := range []struct {
		name    string
		machine cmdline.Machine
		has     []string
		hasNot  []string
	}{
		{
			"disks boot in order",
			cmdline.Machine{
				Config: &config.Config{Disks: []config.Disk{{Interface: "virtio"}, {Interface: "nvme"}, {Interface: "ide"}}},
				Layers: []string{"/a", "/b", "/c"},
			},
			[]string{
				"-device virtio-blk-pci,drive=disk0,bootindex=0",
				"-device nvme,serial=disk1,drive=disk1,bootindex=1",
				"-device ide-hd,drive=disk2,bootindex=2",
				"-nic none",
			},
			nil,
		},
		{
			"a kernel boots before disks",
			cmdline.Machine{
				Config: &config.Config{Kernel: "/k", Initrd: "/i", Append: "a b", Disks: []config.Disk{{Interface: "virtio"}}},
				Layers: []string{"/a"},
			},
			[]string{"-kernel /k -initrd /i -append a b"},
			[]string{"bootindex"},
		},
		{
			"properties of a device",
			cmdline.Machine{
				Config: &config.Config{Disks: []config.Disk{{Interface: "nvme", Options: "serial=x,logical_block_size=4096"}}},
				Layers: []string{"/a"},
			},
			[]string{"-device nvme,drive=disk0,bootindex=0,serial=x,logical_block_size=4096"},
			[]string{"serial=disk0"},
		},
		{
			"one controller for all of scsi",
			cmdline.Machine{
				Config: &config.Config{Disks: []config.Disk{{Interface: "scsi"}, {Interface: "scsi"}}},
				Layers: []string{"/a", "/b"},
			},
			[]string{"-device virtio-scsi-pci,id=scsi", "scsi-hd,bus=scsi.0,drive=disk0", "scsi-hd,bus=scsi.0,drive=disk1"},
			nil,
		},
		{
			"microvm has no PCI",
			cmdline.Machine{
				Config: &config.Config{Machine: "microvm", Arch: "x86_64", Display: true, Network: "user", Disks: []config.Disk{{Interface: "virtio"}}},
				Layers: []string{"/a"},
			},
			[]string{"virtio-blk-device,drive=disk0", "virtio-net-device,netdev=net0"},
			[]string{"pci", "VGA", "bootindex", "romfile"},
		},
		{
			"UEFI with its variables",
			cmdline.Machine{Config: &config.Config{Machine: "q35", UEFICode: "/code"}, Vars: "/vars"},
			[]string{`"filename":"/vars"},"node-name":"uefi-vars","read-only":false`, `"filename":"/code"},"node-name":"uefi-code","read-only":true`, "-machine q35,pflash0=uefi-code,pflash1=uefi-vars"},
			nil,
		},
		{
			"network",
			cmdline.Machine{Config: &config.Config{Network: "user", Forward: []string{"tcp:22", "udp:5353:53"}}},
			[]string{"-netdev user,id=net0,hostfwd=tcp:127.0.0.1:0-:22,hostfwd=udp:127.0.0.1:5353-:53"},
			[]string{"-nic none"},
		},
		{
			"exit status",
			cmdline.Machine{Config: &config.Config{Arch: "x86_64", ExitStatus: &one}},
			[]string{"-device isa-debug-exit,iobase=0xf4,iosize=0x04"},
			nil,
		},
		{
			"data folders, files, more",
			cmdline.Machine{Config: &config.Config{Data: []string{"/d"}, Args: []string{"-rtc", "base=utc"}}, Folder: "/f"},
			[]string{"-L /d ", `"dir":"/f","driver":"vvfat"`, "drive=files,serial=files", "-rtc base=utc"},
			[]string{"isa-debug-exit"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			line := strings.Join(test.machine.Args(), " ")
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

// The shell sees the words that were put in, with a folder of its own.
func TestScriptIsWhatTheShellSees(t *testing.T) {
	words := []string{"printf", "%s\n", "", "it's", `a "quoted" word`, "$HOME", "two words", "*", "/scratch/x/disk", `{"filename":"/scratch/x/it's"}`, "comma,=:", "/out/sandbox/linux-sandbox/17/execroot/_main/a"}
	script := cmdline.Script{Target: "//:t", Dir: "/scratch/x", Commands: [][]string{words}}
	text := strings.Replace(script.String(), "dir=$(mktemp -d)", "dir='/my own'", 1)
	out, err := exec.Command("sh", "-c", text).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var want []string
	for _, word := range words[2:] {
		word = strings.ReplaceAll(word, "/scratch/x", "/my own")
		want = append(want, strings.ReplaceAll(word, "/sandbox/linux-sandbox/17", ""))
	}
	if got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"); !slices.Equal(got, want) {
		t.Errorf("the shell sees %q, want %q", got, want)
	}
}
