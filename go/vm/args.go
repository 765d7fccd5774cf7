package vm

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// interactive connects a machine to a terminal.
var interactive = []string{"-display", "none", "-serial", "mon:stdio"}

// recorded connects the console to standard output. The machine stays after the
// guest's end, so that a screenshot can be taken.
var recorded = []string{"-display", "none", "-no-shutdown", "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"}

// args returns QEMU's arguments for the machine, without those that connect it
// to a terminal or to this process.
func (c *Config) args(accelerator string, p *prepared) ([]string, error) {
	var args arguments
	for _, folder := range c.DataDirs {
		args.add("-L", folder)
	}
	args.add("-nodefaults", "-no-user-config", "-no-reboot")
	args.add("-accel", accelerator)
	args.add("-cpu", c.CPUModel, "-smp", strconv.Itoa(c.CPUs), "-m", c.Memory)
	if p.ram != "" {
		args.add(p.memoryArgs(c.Memory)...)
	}
	c.addFirmware(&args, p)
	if err := c.addKernel(&args, accelerator, p); err != nil {
		return nil, err
	}
	if err := c.addDisks(&args, p); err != nil {
		return nil, err
	}
	c.addFiles(&args, p)
	c.addNetwork(&args)
	if c.Display && !c.isMicroVM() {
		args.add("-device", map[string]string{"x86_64": "VGA", "aarch64": "virtio-gpu-pci"}[c.Arch])
	}
	if c.DebugExit {
		args.add("-device", "isa-debug-exit,iobase=0xf4,iosize=0x04")
	}
	c.addAgentDisk(&args, p)
	return append(args, c.QEMUArgs...), nil
}

func (c *Config) isMicroVM() bool { return strings.HasPrefix(c.Machine, "microvm") }

func (c *Config) addFirmware(args *arguments, p *prepared) {
	machine := c.Machine
	if c.UEFICode != "" {
		args.addJSON("-blockdev", flash("uefi-code", c.UEFICode, true))
		args.addJSON("-blockdev", flash("uefi-vars", p.vars, false))
		machine += ",pflash0=uefi-code,pflash1=uefi-vars"
	}
	if p.ram != "" {
		machine += ",memory-backend=ram"
		if c.Arch == "x86_64" && !c.isMicroVM() {
			// Tells guests that resume to draw other random numbers.
			args.add("-device", "vmgenid,guid=auto")
		}
	}
	args.add("-machine", machine)
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

func (c *Config) addKernel(args *arguments, accelerator string, p *prepared) error {
	if c.Kernel != "" {
		args.add("-kernel", c.Kernel)
	}
	initrd, line := c.Initrd, strings.Join(c.KernelArgs, " ")
	if p.initrd != "" {
		initrd = p.initrd
		own := len(line)
		line = strings.TrimPrefix(line+" "+strings.Join(c.agentKernelArgs(accelerator), " "), " ")
		if len(line) > maxCommandLine {
			return fmt.Errorf("kernel_args is %d bytes long, and %d with the arguments that start the agent; Linux reads %d bytes, so make it shorter or set agent = \"none\"",
				own, len(line), maxCommandLine)
		}
	}
	// A guest that resumes has read its initrd.
	if initrd != "" && !p.resumes {
		args.add("-initrd", initrd)
	}
	if line != "" {
		args.add("-append", line)
	}
	return nil
}

func (c *Config) addDisks(args *arguments, p *prepared) error {
	scsi := false
	for i, disk := range c.Disks {
		name := fmt.Sprintf("disk%d", i)
		args.addJSON("-blockdev", blockdev{
			"driver": "qcow2", "node-name": name, "read-only": disk.ReadOnly,
			// The layer is thrown away: it need not survive a power cut, and
			// zeros need no space in it.
			"cache":   blockdev{"no-flush": true},
			"discard": "unmap", "detect-zeroes": "unmap",
			"file": blockdev{"driver": "file", "filename": p.layers[i], "cache": blockdev{"no-flush": true}, "discard": "unmap"},
		})
		var device string
		serial := disk.Serial
		switch disk.Interface {
		case "virtio":
			device = c.virtio("virtio-blk")
		case "nvme":
			device = "nvme"
			if serial == "" {
				serial = name // QEMU requires one
			}
		case "ide":
			device = "ide-hd"
		case "scsi":
			if !scsi {
				args.add("-device", c.virtio("virtio-scsi")+",id=scsi")
				scsi = true
			}
			device = "scsi-hd,bus=scsi.0"
		default:
			return fmt.Errorf("disk %s: interface %q is not supported; use virtio, nvme, ide or scsi", disk.Path, disk.Interface)
		}
		device += ",drive=" + name
		if serial != "" {
			device += ",serial=" + serial
		}
		if c.Kernel == "" && !c.isMicroVM() {
			device += fmt.Sprintf(",bootindex=%d", i)
		}
		args.add("-device", device)
	}
	return nil
}

func (c *Config) addFiles(args *arguments, p *prepared) {
	if p.files == "" {
		return
	}
	args.addJSON("-blockdev", blockdev{
		"driver": "vvfat", "node-name": "files", "read-only": true,
		"dir": p.files, "rw": false, "label": c.FilesLabel,
	})
	args.add("-device", c.virtio("virtio-blk")+",drive=files,serial=files")
}

// virtio returns the name of a virtio device on the machine's bus.
func (c *Config) virtio(device string) string {
	if c.isMicroVM() {
		return device + "-device"
	}
	return device + "-pci"
}

func (c *Config) addNetwork(args *arguments) {
	if c.Network != "user" {
		args.add("-nic", "none")
		return
	}
	netdev := "user,id=net0"
	for _, forward := range c.ForwardPorts {
		netdev += ",hostfwd=" + hostForward(forward)
	}
	args.add("-netdev", netdev)
	device := c.virtio("virtio-net") + ",netdev=net0"
	if !c.isMicroVM() {
		device += ",romfile=" // the guest does not boot from the network
	}
	args.add("-device", device)
}

// addLink adds a network card that is linked to the file descriptor fd, or to
// nothing if fd is 0.
func (c *Config) addLink(args *arguments, index, fd int, mac string) {
	id := fmt.Sprintf("link%d", index)
	if fd == 0 {
		args.add("-netdev", fmt.Sprintf("hubport,id=%s,hubid=%d", id, index))
	} else {
		args.add("-netdev", fmt.Sprintf("dgram,id=%s,local.type=fd,local.str=%d", id, fd))
	}
	device := fmt.Sprintf("%s,netdev=%s,mac=%s", c.virtio("virtio-net"), id, mac)
	if !c.isMicroVM() {
		device += ",romfile="
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

// addJSON adds an option in JSON, in which a path may have any character.
func (a *arguments) addJSON(option string, value blockdev) {
	b, err := json.Marshal(value)
	if err != nil {
		panic(err) // the values are strings and bools
	}
	a.add(option, string(b))
}
