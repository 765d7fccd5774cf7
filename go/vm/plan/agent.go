package plan

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/guest/initrd"
	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

// AgentName is the name of the agent's program on the disk of Setup.AgentDisk.
const AgentName = "agent"

// The agent of machine.AgentSystemd and machine.AgentCloudInit is on a read-only FAT disk.
// It is the last of the machine's own devices, so that it does not change the names of
// others in the guest.
const (
	agentDiskSerial = "rules_qcow2"
	agentDiskLabel  = "RULES_QCOW2"
	seedLabel       = "CIDATA" // where cloud-init looks for a NoCloud seed
	// agentDir is where the guest copies the agent to. /run exists early and is writable; it
	// may be mounted noexec, which does not affect a mount below it.
	agentDir = "/run/rules_qcow2"
)

// diskLabel returns the volume label of the agent's disk.
func diskLabel(c *machine.Config) string {
	if c.Agent == machine.AgentCloudInit {
		return seedLabel
	}
	return agentDiskLabel
}

// addAgentDisk adds the disk with the agent, and for systemd the credentials.
func (a *arguments) addAgentDisk() {
	if a.setup.AgentDisk == "" {
		return
	}
	if a.config.Agent == machine.AgentSystemd {
		for _, credential := range []struct{ name, content string }{
			{"systemd.extra-unit." + agentUnit, unit(a.config)},
			{"systemd.unit-dropin.sysinit.target", "[Unit]\nWants=" + agentUnit + "\n"},
		} {
			value := base64.StdEncoding.EncodeToString([]byte(credential.content))
			a.add("-smbios", "type=11,value=io.systemd.credential.binary:"+credential.name+"="+value)
		}
	}
	a.addJSON("-blockdev", blockdev{
		"driver": "vvfat", "node-name": "agent-disk", "read-only": true,
		"dir": a.setup.AgentDisk, "rw": false, "label": diskLabel(a.config),
	})
	a.add("-device", a.virtio("virtio-blk")+",drive=agent-disk,serial="+agentDiskSerial)
}

// agentUnit is the unit that runs the agent.
const agentUnit = "rules_qcow2_agent.service"

// agentModules are drivers that a guest may lack until udev has run. Those of the file
// system are loaded by mount.
const agentModules = "virtio_pci virtio_mmio virtio_blk virtio_console"

// loadCommands copy the agent from its disk. QEMU lays out that disk in the order in which
// it reads a folder: a guest that was saved and resumes must not use it any more.
func loadCommands(c *machine.Config) []string {
	const disk = agentDir + "/disk"
	return []string{
		"mkdir -p " + agentDir,
		"mount -t tmpfs -o mode=700 tmpfs " + agentDir,
		"mkdir " + disk,
		"mount -t vfat -o ro LABEL=" + diskLabel(c) + " " + disk,
		"cp " + disk + "/" + AgentName + " " + agentDir,
		"umount " + disk,
	}
}

// agentCommand runs the agent.
func agentCommand(c *machine.Config) string {
	command := agentDir + "/" + AgentName
	if c.AgentChannel == machine.ChannelSerial {
		command += " -tty /dev/ttyS1"
	}
	return command
}

// unit returns the unit for systemd. It has systemd start the agent before
// services, and not a second time if an initrd has systemd as well.
func unit(c *machine.Config) string {
	return fmt.Sprintf(`[Unit]
Description=Agent of rules_qcow2
DefaultDependencies=no
ConditionPathExists=!/etc/initrd-release
Before=sysinit.target
IgnoreOnIsolate=yes

[Service]
ExecStartPre=-modprobe -a -q %s
ExecStartPre=%s
ExecStart=%s
Environment=%s
Nice=-20
StandardError=journal+console
TasksMax=infinity
`, agentModules, strings.Join(loadCommands(c), "\nExecStartPre="), agentCommand(c), protocol.AgentEnv)
}

// Seed returns the files of the seed for cloud-init, by name. The user data is a script
// that cloud-init runs in each boot, before services. Unlike bootcmd, it does not
// replace a setting of the image. The vendor data keeps users, host name, locale, keys
// and sources of packages as they are in the image.
func Seed(c *machine.Config) map[string]string {
	return map[string]string{
		"meta-data": "instance-id: rules-qcow2\n",
		"vendor-data": `#cloud-config
users: []
disable_root: false
preserve_hostname: true
locale: false
ssh_deletekeys: false
apt:
  preserve_sources_list: true
`,
		// With default dependencies, the unit would wait for cloud-init.
		"user-data": fmt.Sprintf(`#cloud-boothook
#!/bin/sh
modprobe -a -q %s
%s || exit
if command -v systemd-run >/dev/null; then
  systemd-run --no-block --unit=%s -E %[5]s -p Nice=-20 -p DefaultDependencies=no -p IgnoreOnIsolate=yes -p StandardError=journal+console -p TasksMax=infinity %[4]s
else
  %[5]s setsid %[4]s </dev/null >/dev/null 2>/dev/console &
fi
`, agentModules, strings.Join(loadCommands(c), " && "), agentUnit, agentCommand(c), protocol.AgentEnv),
	}
}

// noTimerCheck keeps Linux from counting timer interrupts at its start. On a busy host,
// TCG delivers too few of them in time, and Linux panics: "IO-APIC + timer doesn't work".
const noTimerCheck = "no_timer_check"

// agentKernelArgs returns the kernel arguments that start the agent, and those that help
// any Linux guest.
func (a *arguments) agentKernelArgs() []string {
	args := []string{initrd.KernelArg}
	if a.setup.Accelerator == "tcg" && a.config.Arch == "x86_64" {
		args = append(args, noTimerCheck)
	}
	if a.config.AgentChannel == machine.ChannelSerial {
		args = append(args, "rules_qcow2.tty=ttyS1")
	}
	return args
}

// AgentPort is the name of the agent's port in QEMU's events.
const AgentPort = "agent-port"

// addAgent adds the agent's channel.
func (a *arguments) addAgent() {
	if !a.setup.Agent {
		return
	}
	a.add("-chardev", fmt.Sprintf("socket,id=agent,fd=%d", a.descriptor(Agent)))
	if a.config.AgentChannel == machine.ChannelSerial {
		a.add("-serial", "chardev:agent")
		return
	}
	a.add("-device", a.virtio("virtio-serial"), "-device", "virtserialport,id="+AgentPort+",chardev=agent,name="+protocol.PortName)
}
