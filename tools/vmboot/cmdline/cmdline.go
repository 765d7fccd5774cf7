// Package cmdline turns a machine into QEMU's arguments.
package cmdline

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/config"
)

// A Machine is a config with what has been made for it.
type Machine struct {
	*config.Config
	Accelerator string   // kvm or tcg
	Layers      []string // of Disks, in their order: what the guest writes to
	Vars        string   // its UEFI variables
	Folder      string   // with Files
}

// Args returns the arguments that are the machine, without those that connect
// it to whoever runs it.
func (m *Machine) Args() []string {
	var args arguments
	for _, folder := range m.Data {
		args.add("-L", folder)
	}
	args.add("-nodefaults", "-no-user-config", "-no-reboot")
	args.add("-accel", m.Accelerator)
	args.add("-cpu", m.CPU, "-smp", strconv.Itoa(m.CPUs), "-m", m.Memory)
	m.addFirmware(&args)
	m.addKernel(&args)
	m.addDisks(&args)
	m.addNetwork(&args)
	if m.Display && !m.isMicroVM() {
		args.add("-device", map[string]string{"x86_64": "VGA", "aarch64": "virtio-gpu-pci"}[m.Arch])
	}
	if m.ExitStatus != nil && *m.ExitStatus != 0 && m.Arch == "x86_64" {
		args.add("-device", "isa-debug-exit,iobase=0xf4,iosize=0x04")
	}
	return append(args, m.Config.Args...)
}

func (m *Machine) isMicroVM() bool { return strings.HasPrefix(m.Machine, "microvm") }

func (m *Machine) addFirmware(args *arguments) {
	machine := m.Config.Machine
	if m.UEFICode != "" {
		args.addJSON("-blockdev", flash("uefi-code", m.UEFICode, true))
		args.addJSON("-blockdev", flash("uefi-vars", m.Vars, false))
		machine += ",pflash0=uefi-code,pflash1=uefi-vars"
	}
	args.add("-machine", machine)
}

func flash(name, path string, readOnly bool) blockdev {
	return blockdev{
		"driver": "raw", "node-name": name, "read-only": readOnly,
		"file": blockdev{"driver": "file", "filename": path},
	}
}

func (m *Machine) addKernel(args *arguments) {
	if m.Kernel != "" {
		args.add("-kernel", m.Kernel)
	}
	if m.Initrd != "" {
		args.add("-initrd", m.Initrd)
	}
	if m.Append != "" {
		args.add("-append", m.Append)
	}
}

func (m *Machine) addDisks(args *arguments) {
	scsi := false
	for i, disk := range m.Disks {
		name := fmt.Sprintf("disk%d", i)
		args.addJSON("-blockdev", blockdev{
			"driver": "qcow2", "node-name": name,
			// The layer is thrown away: nothing has to survive a power cut,
			// and zeros are not worth their room.
			"cache":   blockdev{"no-flush": true},
			"discard": "unmap", "detect-zeroes": "unmap",
			"file": blockdev{"driver": "file", "filename": m.Layers[i], "cache": blockdev{"no-flush": true}, "discard": "unmap"},
		})
		var device string
		switch disk.Interface {
		case "virtio":
			device = m.virtio("virtio-blk")
		case "nvme":
			device = "nvme"
			if !strings.Contains(","+disk.Options, ",serial=") {
				device += ",serial=" + name // it has to have one
			}
		case "ide":
			device = "ide-hd"
		case "scsi":
			if !scsi {
				args.add("-device", m.virtio("virtio-scsi")+",id=scsi")
				scsi = true
			}
			device = "scsi-hd,bus=scsi.0"
		}
		device += ",drive=" + name
		if m.Kernel == "" && !m.isMicroVM() {
			device += fmt.Sprintf(",bootindex=%d", i)
		}
		if disk.Options != "" {
			device += "," + disk.Options
		}
		args.add("-device", device)
	}
	if m.Folder != "" {
		args.addJSON("-blockdev", blockdev{
			"driver": "vvfat", "node-name": "files", "read-only": true,
			"dir": m.Folder, "rw": false, "label": "FILES",
		})
		args.add("-device", m.virtio("virtio-blk")+",drive=files,serial=files")
	}
}

// virtio returns the name of a virtio device on the bus that the machine has.
func (m *Machine) virtio(device string) string {
	if m.isMicroVM() {
		return device + "-device"
	}
	return device + "-pci"
}

func (m *Machine) addNetwork(args *arguments) {
	if m.Network != "user" {
		args.add("-nic", "none")
		return
	}
	netdev := "user,id=net0"
	for _, forward := range m.Forward {
		netdev += ",hostfwd=" + hostForward(forward)
	}
	args.add("-netdev", netdev)
	device := m.virtio("virtio-net") + ",netdev=net0"
	if !m.isMicroVM() {
		device += ",romfile=" // nobody boots from it
	}
	args.add("-device", device)
}

// hostForward translates PROTOCOL:[HOST PORT:]GUEST PORT. Without a host port
// QEMU takes a free one.
func hostForward(forward string) string {
	protocol, ports, _ := strings.Cut(forward, ":")
	host, guest, ok := strings.Cut(ports, ":")
	if !ok {
		host, guest = "0", ports
	}
	return fmt.Sprintf("%s:127.0.0.1:%s-:%s", protocol, host, guest)
}

type blockdev map[string]any

type arguments []string

func (a *arguments) add(args ...string) { *a = append(*a, args...) }

// addJSON adds an option in JSON, where a path may have any character.
func (a *arguments) addJSON(option string, value blockdev) {
	b, err := json.Marshal(value)
	if err != nil {
		panic(err) // it is strings and bools
	}
	a.add(option, string(b))
}
