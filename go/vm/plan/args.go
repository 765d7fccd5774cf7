package plan

import (
	"encoding/json"
	"fmt"
	"strings"
)

func (a *arguments) addFirmware() {
	machine := a.config.Machine
	if a.config.UEFICode != "" {
		a.addJSON("-blockdev", flash("uefi-code", a.config.UEFICode, true))
		a.addJSON("-blockdev", flash("uefi-vars", a.setup.UEFIVars, false))
		machine += ",pflash0=uefi-code,pflash1=uefi-vars"
	}
	if a.setup.RAM.Path != "" {
		machine += ",memory-backend=ram"
		if a.config.Arch == "x86_64" && !a.config.IsMicroVM() && !a.setup.Agent {
			// Tells guests that resume to draw other random numbers. The agent does the same,
			// without the ACPI code that the guest's kernel runs for the device.
			a.add("-device", "vmgenid,guid=auto")
		}
	}
	a.add("-machine", machine)
}

func flash(name, path string, readOnly bool) blockdev {
	return blockdev{
		"driver": "raw", "node-name": name, "read-only": readOnly,
		"file": blockdev{"driver": "file", "filename": path},
	}
}

// maxCommandLine is the length in bytes of the longest command line of Linux on x86_64
// and arm64 (COMMAND_LINE_SIZE less the final zero). It ignores the rest.
const maxCommandLine = 2047

func (a *arguments) addKernel() error {
	if a.config.Kernel != "" {
		a.add("-kernel", a.config.Kernel)
	}
	initrd, line := a.config.Initrd, strings.Join(a.config.KernelArgs, " ")
	if a.setup.Initrd != "" {
		initrd = a.setup.Initrd
		own := len(line)
		line = strings.TrimPrefix(line+" "+strings.Join(a.agentKernelArgs(), " "), " ")
		if len(line) > maxCommandLine {
			return fmt.Errorf("kernel_args is %d bytes long, and %d with the arguments that start the agent; Linux reads %d bytes, so make it shorter or set agent = \"none\"",
				own, len(line), maxCommandLine)
		}
	}
	// A guest that resumes has read its initrd, but reads it again when it reboots.
	if initrd != "" {
		a.add("-initrd", initrd)
	}
	if line != "" {
		a.add("-append", line)
	}
	return nil
}

func (a *arguments) addDisks() error {
	scsi := false
	for i, disk := range a.config.Disks {
		name := fmt.Sprintf("disk%d", i)
		a.addJSON("-blockdev", blockdev{
			"driver": "qcow2", "node-name": name, "read-only": disk.ReadOnly,
			// The layer is thrown away: it need not survive a power cut, and
			// zeros need no space in it.
			"cache":   blockdev{"no-flush": true},
			"discard": "unmap", "detect-zeroes": "unmap",
			"file": blockdev{"driver": "file", "filename": a.setup.Layers[i], "cache": blockdev{"no-flush": true}, "discard": "unmap"},
		})
		var device string
		serial := disk.Serial
		switch disk.Interface {
		case "virtio":
			device = a.virtio("virtio-blk")
		case "nvme":
			device = "nvme"
			if serial == "" {
				serial = name // QEMU requires one
			}
		case "ide":
			device = "ide-hd"
		case "scsi":
			if !scsi {
				a.add("-device", a.virtio("virtio-scsi")+",id=scsi")
				scsi = true
			}
			device = "scsi-hd,bus=scsi.0"
		default:
			return fmt.Errorf("disk %s: interface %q is not supported; use virtio, nvme, ide or scsi", disk.Path, disk.Interface)
		}
		device += ",drive=" + name
		if serial != "" {
			device += ",serial=" + serial
			if disk.Interface == "scsi" {
				// The default is the serial number, which must then have at most 20 characters.
				device += ",device_id=" + serial
			}
		}
		if a.config.Kernel == "" && !a.config.IsMicroVM() {
			device += fmt.Sprintf(",bootindex=%d", i)
		}
		a.add("-device", device)
	}
	return nil
}

func (a *arguments) addFiles() {
	if a.setup.Files == "" {
		return
	}
	a.addJSON("-blockdev", blockdev{
		"driver": "vvfat", "node-name": "files", "read-only": true,
		"dir": a.setup.Files, "rw": false, "label": a.config.FilesLabel,
	})
	a.add("-device", a.virtio("virtio-blk")+",drive=files,serial=files")
}

// virtio returns the name of a virtio device on the machine's bus.
func (a *arguments) virtio(device string) string {
	if a.config.IsMicroVM() {
		return device + "-device"
	}
	return device + "-pci"
}

func (a *arguments) addNetwork() {
	if a.config.Network != "user" {
		a.add("-nic", "none")
		return
	}
	netdev := "user,id=net0"
	for _, forward := range a.config.ForwardPorts {
		netdev += ",hostfwd=" + hostForward(forward)
	}
	a.add("-netdev", netdev)
	device := a.virtio("virtio-net") + ",netdev=net0"
	if !a.config.IsMicroVM() {
		device += ",romfile=" // the guest does not boot from the network
	}
	a.add("-device", device)
}

// addCard adds a network card of Setup.Cards.
func (a *arguments) addCard(index int, mac string) {
	id := fmt.Sprintf("link%d", index)
	if index < a.setup.Linked {
		a.add("-netdev", fmt.Sprintf("dgram,id=%s,local.type=fd,local.str=%d", id, a.descriptor(Network)))
	} else {
		a.add("-netdev", fmt.Sprintf("hubport,id=%s,hubid=%d", id, index))
	}
	device := fmt.Sprintf("%s,netdev=%s,mac=%s", a.virtio("virtio-net"), id, mac)
	if !a.config.IsMicroVM() {
		device += ",romfile="
	}
	a.add("-device", device)
}

// hostForward translates PROTOCOL:[HOST PORT:]GUEST PORT. Without a host port
// QEMU takes a free one.
func hostForward(forward string) string {
	protocol, host, guest := splitForward(forward)
	return fmt.Sprintf("%s:127.0.0.1:%s-:%s", protocol, host, guest)
}

// splitForward returns the parts of PROTOCOL:[HOST PORT:]GUEST PORT. Without a host port,
// host is "0".
func splitForward(forward string) (protocol, host, guest string) {
	protocol, ports, _ := strings.Cut(forward, ":")
	host, guest, ok := strings.Cut(ports, ":")
	if !ok {
		host, guest = "0", ports
	}
	return protocol, host, guest
}

type blockdev map[string]any

func (a *arguments) add(args ...string) { a.args = append(a.args, args...) }

// addJSON adds an option in JSON, in which a path may have any character.
func (a *arguments) addJSON(option string, value blockdev) {
	b, err := json.Marshal(value)
	if err != nil {
		panic(err) // the values are strings and bools
	}
	a.add(option, string(b))
}
