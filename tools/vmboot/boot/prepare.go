package boot

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/accel"
	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/cmdline"
	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/config"
	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/scratch"
)

// Prepare makes what the machine writes to in dir. The script makes it anew.
func Prepare(c *config.Config, dir *scratch.Dir) (*cmdline.Machine, *cmdline.Script, error) {
	accelerator, err := accel.ThisHost().Choose(c.Accel, c.Arch)
	if err != nil {
		return nil, nil, err
	}
	m := &cmdline.Machine{Config: c, Accelerator: accelerator}
	script := &cmdline.Script{Target: c.Target, Dir: dir.Path}
	qemuImg := c.QEMUImg
	if qemuImg == "" {
		qemuImg = "qemu-img"
	}
	for i, disk := range c.Disks {
		layer, format, err := dir.Layer(fmt.Sprintf("disk%d.qcow2", i), disk.Path, disk.Format)
		if err != nil {
			return nil, nil, err
		}
		m.Layers = append(m.Layers, layer)
		script.Commands = append(script.Commands, []string{qemuImg, "create", "-q", "-f", "qcow2", "-F", format, "-b", disk.Path, layer})
	}
	if c.UEFICode != "" {
		if m.Vars, err = dir.Copy("uefi-vars.fd", c.UEFIVars); err != nil {
			return nil, nil, fmt.Errorf("UEFI variables: %w", err)
		}
		script.Commands = append(script.Commands, []string{"cp", c.UEFIVars, m.Vars})
	}
	if len(c.Files) > 0 {
		if m.Folder, err = dir.Folder("files"); err != nil {
			return nil, nil, err
		}
		script.Commands = append(script.Commands, []string{"mkdir", m.Folder})
		for _, file := range c.Files {
			link := filepath.Join(m.Folder, file.Name)
			if err := os.Symlink(file.Path, link); err != nil {
				return nil, nil, err
			}
			script.Commands = append(script.Commands, []string{"ln", "-s", file.Path, link})
		}
	}
	script.Commands = append(script.Commands, append(append([]string{c.QEMU}, m.Args()...), interactive...))
	return m, script, nil
}

// interactive connects a machine to a terminal.
var interactive = []string{"-display", "none", "-serial", "mon:stdio"}

// recorded connects a machine to a test: the console comes through standard
// output, and after its end the machine stays, for a last look at its screen.
var recorded = []string{"-display", "none", "-no-shutdown", "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"}
