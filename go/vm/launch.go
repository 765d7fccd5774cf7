package vm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/go/vm/plan"
	"github.com/rules-qcow2/rules_qcow2/go/vm/qemu"
	"github.com/rules-qcow2/rules_qcow2/guest/initrd"
	"github.com/rules-qcow2/rules_qcow2/internal/sparse"
)

// A launch is a machine that is about to run: the files that it may write to, and the
// setup of its plan.
type launch struct {
	config   *machine.Config
	from     *Snapshot // nil to boot
	dir      string
	setup    plan.Setup
	commands [][]string // make the files again
	ramFile  *os.File   // holds the RAM open; nil if it is a named file
	// copiedRAM says that the RAM is a copy because QEMU is too old to map another's.
	copiedRAM bool

	// booted says that the machine ran before: its files exist. See PowerOn.
	booted       bool
	addresses    bool     // the agent sets addresses, also without Options.Static
	forwardPorts []string // in place of Config.ForwardPorts, if booted
}

// newLaunch makes throwaway layers over the machine's disks, and a copy of its
// UEFI variables, in Options.Dir. Those of a machine that resumes are over the
// snapshot's.
func newLaunch(c *machine.Config, from *Snapshot, o *Options) (*launch, error) {
	accelerator, err := qemu.Accelerator(c.Accel, c.Arch)
	if err != nil {
		return nil, err
	}
	l := &launch{config: c, from: from, dir: o.Dir, setup: plan.Setup{Accelerator: accelerator, Resumes: from != nil}}
	if err := l.addAll(o); err != nil {
		l.ramFile.Close() // of a nil file, an error
		return nil, err
	}
	return l, nil
}

func (l *launch) addAll(o *Options) error {
	if err := l.addRAM(o.Saveable); err != nil {
		return fmt.Errorf("RAM: %w", err)
	}
	c := l.config
	for i, disk := range c.Disks {
		if l.from != nil {
			disk.Path, disk.Format = l.from.files.Layers[i], "qcow2"
		}
		layer := Layer{Path: filepath.Join(o.Dir, fmt.Sprintf("disk%d.qcow2", i))}
		if o.Layers != nil {
			layer = o.Layers[i]
		}
		if err := l.addLayer(layer, disk); err != nil {
			return err
		}
	}
	if c.UEFICode != "" {
		vars := c.UEFIVars
		if l.from != nil {
			vars = l.from.files.UEFIVars
		}
		l.setup.UEFIVars = filepath.Join(o.Dir, "uefi-vars.fd")
		if err := copyFile(vars, l.setup.UEFIVars); err != nil {
			return fmt.Errorf("UEFI variables: %w", err)
		}
		l.add("cp", vars, l.setup.UEFIVars)
	}
	if len(c.Files) > 0 {
		return l.addFiles(c.Files)
	}
	return nil
}

// addRAM sets where the RAM is: in QEMU alone; in a snapshot; or, if it is
// saveable, in a file that outlives QEMU. That is a file in memory, or one in dir
// where the host cannot do that.
func (l *launch) addRAM(saveable bool) error {
	ram := &l.setup.RAM
	if s := l.from; s != nil {
		ram.Path = s.files.RAM
		ram.ReadOnly = s.ram == nil && qemu.MapsReadOnly(s.fingerprint.QEMU)
		if s.ram == nil && !ram.ReadOnly {
			saveable, l.copiedRAM = true, true
		}
	}
	if !saveable {
		return nil
	}
	var err error
	if l.ramFile, ram.Path, err = qemu.MemoryFile(); err != nil {
		ram.Path = filepath.Join(l.dir, "ram")
	}
	ram.Own, ram.ReadOnly = true, false
	if l.from == nil {
		return nil
	}
	return sparse.CopyFile(ram.Path, l.from.files.RAM)
}

// copiedRAM says why a machine took more time and memory than others.
func copiedRAM(version string) string {
	return fmt.Sprintf("the snapshot's RAM was copied, because QEMU %s cannot map a read-only file privately; QEMU 8.2 and newer can", version)
}

func (l *launch) add(command ...string) { l.commands = append(l.commands, command) }

// script returns a shell script that boots the machine from its disks, without what ends
// with this process, and runs it on the terminal.
func (l *launch) script() (string, error) {
	setup := l.setup
	setup.RAM, setup.Resumes, setup.Initrd, setup.AgentDisk = plan.RAM{}, false, "", ""
	setup.Console, setup.Agent, setup.Cards = plan.Terminal, false, nil
	p, err := plan.Make(l.config, &setup)
	if err != nil {
		return "", err
	}
	commands := append(l.commands[:len(l.commands):len(l.commands)], append([]string{l.config.QEMU}, p.Args...))
	return script{target: l.config.Target, dir: l.dir, commands: commands, resumed: l.from != nil}.String(), nil
}

// addAgent prepares how the agent gets into the guest, and its channel, if a machine that
// boots is to have one, or if one that resumes was saved with one: its agent lets the
// guest's programs go on.
func (l *launch) addAgent(wanted bool) error {
	if l.booted {
		return nil
	}
	if l.from != nil {
		wanted = l.from.fingerprint.Agent
	}
	if l.setup.Agent = wanted; !wanted {
		return nil
	}
	switch {
	case l.config.Agent == machine.AgentInitrd && l.from != nil && l.from.initrd != "":
		l.setup.Initrd = l.from.initrd
	case l.config.Agent == machine.AgentInitrd:
		l.setup.Initrd = filepath.Join(l.dir, "initrd")
		return writeInitrd(l.config, l.setup.Initrd)
	case l.config.AgentOnDisk():
		return l.addAgentDisk()
	}
	return nil
}

// addAgentDisk makes the folder that becomes the agent's disk.
func (l *launch) addAgentDisk() error {
	folder := filepath.Join(l.dir, "agent")
	l.setup.AgentDisk = folder
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	if err := os.Symlink(l.config.AgentProgram, filepath.Join(folder, plan.AgentName)); err != nil {
		return err
	}
	if l.config.Agent != machine.AgentCloudInit {
		return nil
	}
	for name, content := range plan.Seed(l.config) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// writeInitrd writes an initrd with the agent in front of the machine's own to
// path. The kernel unpacks both into one root.
func writeInitrd(c *machine.Config, path string) (err error) {
	program, err := os.ReadFile(c.AgentProgram)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := initrd.Write(out, program); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	if c.Initrd == "" {
		return nil
	}
	in, err := os.Open(c.Initrd)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(out, in)
	return err
}

func (l *launch) addLayer(layer Layer, disk machine.Disk) error {
	base, err := filepath.Abs(disk.Path)
	if err != nil {
		return err
	}
	format := disk.Format
	if format == "" {
		// Another error is that of InspectChain, too.
		var notDisk *qcow2.NotDiskError
		if format, err = qcow2.DetectFormat(base); errors.As(err, &notDisk) {
			return fmt.Errorf("disk %s: %s; %s; to use it as a raw disk anyway, set its format to raw, in Bazel by a qcow2_overlay on it with backing_format = \"raw\"", base, notDisk.What, notDisk.Advice)
		}
	}
	chain, err := qcow2.InspectChain(base, format)
	if err != nil {
		return fmt.Errorf("disk %s cannot be opened: %w", base, err)
	}
	if layer.Backing == "" {
		err = qcow2.CreateLayer(layer.Path, base, chain[0].Format)
	} else {
		err = createRelativeLayer(layer, chain[0])
	}
	if err != nil {
		return fmt.Errorf("disk %s: %w", base, err)
	}
	l.setup.Layers = append(l.setup.Layers, layer.Path)
	qemuImg := l.config.QEMUImg
	if qemuImg == "" {
		qemuImg = "qemu-img"
	}
	l.add(qemuImg, "create", "-q", "-f", "qcow2", "-F", chain[0].Format, "-b", disk.Path, filepath.Join(l.dir, filepath.Base(layer.Path)))
	return nil
}

// createRelativeLayer makes a layer with the backing file name that it has at its
// place, on an image that may be elsewhere now.
func createRelativeLayer(layer Layer, base qcow2.Layer) error {
	f, err := os.OpenFile(layer.Path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o666)
	if err != nil {
		return err
	}
	return errors.Join(qcow2.Generate(f,
		qcow2.GenerateWithFileSize(base.VirtualSize),
		qcow2.GenerateWithBackingFile(layer.Backing),
		qcow2.GenerateWithBackingFormat(base.Format),
		qcow2.GenerateWithClusterSize(qcow2.LayerClusterSize),
		qcow2.GenerateWithExtendedL2(qcow2.LayerExtendedL2),
	), f.Close())
}

func (l *launch) addFiles(files []machine.File) error {
	folder := filepath.Join(l.dir, "files")
	l.setup.Files = folder
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	l.add("mkdir", folder)
	for _, file := range files {
		link := filepath.Join(folder, file.Name)
		if err := os.Symlink(file.Path, link); err != nil {
			return err
		}
		l.add("ln", "-s", file.Path, link)
	}
	return nil
}

// copyFile copies a file to a new one.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
