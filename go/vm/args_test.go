package vm

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestArgs(t *testing.T) {
	for _, test := range []struct {
		name     string
		config   Config
		prepared prepared
		has      []string
		hasNot   []string
	}{
		{
			"disks boot in order",
			Config{Disks: []Disk{{Interface: "virtio"}, {Interface: "nvme"}, {Interface: "ide"}}},
			prepared{layers: []string{"/a", "/b", "/c"}},
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
			Config{Kernel: "/k", Initrd: "/i", KernelArgs: []string{"a", "b"}, Disks: []Disk{{Interface: "virtio"}}},
			prepared{layers: []string{"/a"}},
			[]string{"-kernel /k -initrd /i -append a b"},
			[]string{"bootindex"},
		},
		{
			"serial number, read-only",
			Config{Disks: []Disk{{Interface: "nvme", Serial: "x", ReadOnly: true}}},
			prepared{layers: []string{"/a"}},
			[]string{"-device nvme,drive=disk0,serial=x,bootindex=0", `"read-only":true`},
			[]string{"serial=disk0"},
		},
		{
			"one controller for all SCSI disks",
			Config{Disks: []Disk{{Interface: "scsi"}, {Interface: "scsi"}}},
			prepared{layers: []string{"/a", "/b"}},
			[]string{"-device virtio-scsi-pci,id=scsi", "scsi-hd,bus=scsi.0,drive=disk0", "scsi-hd,bus=scsi.0,drive=disk1"},
			nil,
		},
		{
			"microvm does not have PCI",
			Config{Machine: "microvm", Arch: "x86_64", Display: true, Network: "user", Disks: []Disk{{Interface: "virtio"}}},
			prepared{layers: []string{"/a"}},
			[]string{"virtio-blk-device,drive=disk0", "virtio-net-device,netdev=net0"},
			[]string{"pci", "VGA", "bootindex", "romfile"},
		},
		{
			"UEFI with its variables",
			Config{Machine: "q35", UEFICode: "/code"},
			prepared{vars: "/vars"},
			[]string{`"filename":"/vars"},"node-name":"uefi-vars","read-only":false`, `"filename":"/code"},"node-name":"uefi-code","read-only":true`, "-machine q35,pflash0=uefi-code,pflash1=uefi-vars"},
			nil,
		},
		{
			"network",
			Config{Network: "user", ForwardPorts: []string{"tcp:22", "udp:5353:53"}},
			prepared{},
			[]string{"-netdev user,id=net0,hostfwd=tcp:127.0.0.1:0-:22,hostfwd=udp:127.0.0.1:5353-:53"},
			[]string{"-nic none"},
		},
		{
			"exit status",
			Config{DebugExit: true},
			prepared{},
			[]string{"-device isa-debug-exit,iobase=0xf4,iosize=0x04"},
			nil,
		},
		{
			"data folders, files, further arguments",
			Config{DataDirs: []string{"/d"}, QEMUArgs: []string{"-rtc", "base=utc"}, FilesLabel: "CIDATA"},
			prepared{files: "/f"},
			[]string{"-L /d ", `"dir":"/f","driver":"vvfat","label":"CIDATA"`, "drive=files,serial=files", "-rtc base=utc"},
			[]string{"isa-debug-exit"},
		},
		{
			"an agent by initrd",
			Config{Arch: "x86_64", Agent: AgentInitrd, Kernel: "/k", Initrd: "/i", KernelArgs: []string{"a"}},
			prepared{initrd: "/a"},
			[]string{"-kernel /k -initrd /a -append a rdinit=/rules_qcow2/agent no_timer_check"},
			nil,
		},
		{
			"an agent by initrd for another architecture",
			Config{Arch: "aarch64", Agent: AgentInitrd, Kernel: "/k"},
			prepared{initrd: "/a"},
			[]string{"-append rdinit=/rules_qcow2/agent"},
			[]string{"no_timer_check"},
		},
		{
			"an agent by systemd comes after disks and files",
			Config{Agent: AgentSystemd, Disks: []Disk{{Interface: "virtio"}}},
			prepared{layers: []string{"/a"}, files: "/f", agentDisk: "/g"},
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
			Config{Agent: AgentCloudInit},
			prepared{agentDisk: "/g"},
			[]string{`"dir":"/g","driver":"vvfat","label":"CIDATA"`},
			[]string{"smbios"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			args, err := test.config.args("tcg", &test.prepared)
			if err != nil {
				t.Fatal(err)
			}
			line := strings.Join(args, " ")
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

func TestArgsUnknownInterface(t *testing.T) {
	c := Config{Disks: []Disk{{Path: "/d", Interface: "sata"}}}
	_, err := c.args("tcg", &prepared{layers: []string{"/a"}})
	if want := `disk /d: interface "sata" is not supported; use virtio, nvme, ide or scsi`; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %q", err, want)
	}
}

// Linux would cut off the arguments that start the agent.
func TestLongCommandLine(t *testing.T) {
	for length, fits := range map[int]bool{1900: true, 2047: false, 3000: false} {
		c := Config{Arch: "x86_64", Kernel: "/k", KernelArgs: []string{strings.Repeat("x", length)}}
		args, err := c.args("tcg", &prepared{initrd: "/i"})
		if fits {
			if line := args[slices.Index(args, "-append")+1]; err != nil || len(line) > maxCommandLine {
				t.Errorf("kernel_args of %d bytes: %v, a command line of %d bytes", length, err, len(line))
			}
			continue
		}
		with := length + len(" rdinit=/rules_qcow2/agent no_timer_check")
		wantWords(t, err, fmt.Sprintf("kernel_args is %d bytes long, and %d with the arguments", length, with), "Linux reads 2047 bytes")
		if _, err := c.args("tcg", &prepared{}); err != nil {
			t.Errorf("kernel_args of %d bytes without an agent: %v", length, err)
		}
	}
}

// A shell must see the words that were put in, with its own folder.
func TestScript(t *testing.T) {
	words := []string{"printf", "%s\n", "", "it's", `a "quoted" word`, "$HOME", "two words", "*", "/scratch/x/disk", `{"filename":"/scratch/x/it's"}`, "comma,=:", "/out/sandbox/linux-sandbox/17/execroot/_main/a"}
	s := script{target: "//:t", dir: "/scratch/x", commands: [][]string{words}}
	text := strings.Replace(s.String(), "dir=$(mktemp -d)", "dir='/my own'", 1)
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
