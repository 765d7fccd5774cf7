package vm

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
)

// The agent of AgentSystemd and AgentCloudInit is on a read-only FAT disk. It is
// the last of the machine's own devices, so that it does not change the names of
// others in the guest.
const (
	agentDiskSerial = "rules_qcow2"
	agentDiskLabel  = "RULES_QCOW2"
	seedLabel       = "CIDATA" // where cloud-init looks for a NoCloud seed
	// mountDir is where the guest mounts the disk. /run exists early and is
	// writable; it may be mounted noexec, which does not affect a mount below it.
	mountDir = "/run/rules_qcow2"
)

// onDisk reports whether the agent gets into the guest on a disk.
func (c *Config) onDisk() bool { return c.Agent == AgentSystemd || c.Agent == AgentCloudInit }

// diskLabel returns the volume label of the agent's disk.
func (c *Config) diskLabel() string {
	if c.Agent == AgentCloudInit {
		return seedLabel
	}
	return agentDiskLabel
}

// addAgent prepares how the agent gets into the guest.
func (p *prepared) addAgent(c *Config) error {
	switch {
	case c.Agent == AgentInitrd && !p.resumes: // a guest that resumes has read it
		p.initrd = filepath.Join(p.dir, "initrd")
		return c.agentInitrd(p.initrd)
	case c.onDisk():
		return p.addAgentDisk(c)
	}
	return nil
}

// addAgentDisk makes the folder that becomes the agent's disk.
func (p *prepared) addAgentDisk(c *Config) error {
	p.agentDisk = filepath.Join(p.dir, "agent")
	if err := os.Mkdir(p.agentDisk, 0o700); err != nil {
		return err
	}
	if err := os.Symlink(c.AgentProgram, filepath.Join(p.agentDisk, "agent")); err != nil {
		return err
	}
	if c.Agent != AgentCloudInit {
		return nil
	}
	for name, content := range c.seed() {
		if err := os.WriteFile(filepath.Join(p.agentDisk, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// addAgentDisk adds the disk with the agent, and for systemd the credentials.
func (c *Config) addAgentDisk(args *arguments, p *prepared) {
	if p.agentDisk == "" {
		return
	}
	if c.Agent == AgentSystemd {
		for _, credential := range []struct{ name, content string }{
			{"systemd.extra-unit." + agentUnit, c.unit()},
			{"systemd.unit-dropin.sysinit.target", "[Unit]\nWants=" + agentUnit + "\n"},
		} {
			value := base64.StdEncoding.EncodeToString([]byte(credential.content))
			args.add("-smbios", "type=11,value=io.systemd.credential.binary:"+credential.name+"="+value)
		}
	}
	args.addJSON("-blockdev", blockdev{
		"driver": "vvfat", "node-name": "agent-disk", "read-only": true,
		"dir": p.agentDisk, "rw": false, "label": c.diskLabel(),
	})
	args.add("-device", c.virtio("virtio-blk")+",drive=agent-disk,serial="+agentDiskSerial)
}

// agentUnit is the unit that runs the agent.
const agentUnit = "rules_qcow2_agent.service"

// agentModules are drivers that a guest may lack until udev has run. Those of the file
// system are loaded by mount.
const agentModules = "virtio_pci virtio_mmio virtio_blk virtio_console"

// mountCommand mounts the agent's disk at mountDir.
func (c *Config) mountCommand() string {
	return "mount -t vfat -o ro LABEL=" + c.diskLabel() + " " + mountDir
}

// agentCommand runs the agent from its disk.
func (c *Config) agentCommand() string {
	command := mountDir + "/agent"
	if c.AgentChannel == agentSerial {
		command += " -tty /dev/ttyS1"
	}
	return command
}

// unit returns the unit for systemd. It has systemd start the agent before
// services, and not a second time if an initrd has systemd as well.
func (c *Config) unit() string {
	return fmt.Sprintf(`[Unit]
Description=Agent of rules_qcow2
DefaultDependencies=no
ConditionPathExists=!/etc/initrd-release
Before=sysinit.target
IgnoreOnIsolate=yes

[Service]
ExecStartPre=-modprobe -a -q %s
ExecStartPre=mkdir -p %s
ExecStartPre=%s
ExecStart=%s
StandardError=journal+console
TasksMax=infinity
`, agentModules, mountDir, c.mountCommand(), c.agentCommand())
}

// seed returns the files of the seed for cloud-init. The user data is a script
// that cloud-init runs in each boot, before services. Unlike bootcmd, it does not
// replace a setting of the image. The vendor data keeps users, host name, locale, keys
// and sources of packages as they are in the image.
func (c *Config) seed() map[string]string {
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
mkdir -p %s
%s || exit
if command -v systemd-run >/dev/null; then
  systemd-run --no-block --unit=%s -p DefaultDependencies=no -p IgnoreOnIsolate=yes -p StandardError=journal+console -p TasksMax=infinity %[5]s
else
  setsid %[5]s </dev/null >/dev/null 2>/dev/console &
fi
`, agentModules, mountDir, c.mountCommand(), agentUnit, c.agentCommand()),
	}
}
