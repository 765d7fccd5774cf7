package vm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// prepared is what a machine may write to, and the commands that make it again.
type prepared struct {
	dir      string
	layers   []string // one per disk
	vars     string   // UEFI variables; "" without UEFI
	files    string   // folder of links to Config.Files; "" without files
	initrd   string   // with the agent; "" if no agent comes by an initrd
	ram      string   // path of the RAM; "" if only QEMU has it
	ramFile  *os.File // holds ram open; nil if it is a named file
	ownRAM   bool     // the guest writes to ram
	commands [][]string
}

// prepare makes throwaway layers over the machine's disks, and a copy of its
// UEFI variables, in dir. Those of a machine that resumes are over the snapshot's. If saveable
// is set, the RAM of the machine outlives QEMU.
func prepare(c *Config, dir string, saveable bool) (*prepared, error) {
	p := &prepared{dir: dir}
	vars := c.UEFIVars
	if c.Snapshot != nil {
		vars, p.initrd, p.ram = c.Snapshot.UEFIVars, c.Snapshot.Initrd, c.Snapshot.RAM
	}
	if saveable {
		if err := p.addRAM(p.ram); err != nil {
			return nil, fmt.Errorf("RAM: %w", err)
		}
	}
	for i, disk := range c.Disks {
		if c.Snapshot != nil {
			disk.Path, disk.Format = c.Snapshot.Layers[i], "qcow2"
		}
		if err := p.addLayer(c, fmt.Sprintf("disk%d.qcow2", i), disk); err != nil {
			return nil, err
		}
	}
	if c.UEFICode != "" {
		p.vars = filepath.Join(dir, "uefi-vars.fd")
		if err := copyFile(p.vars, vars); err != nil {
			return nil, fmt.Errorf("UEFI variables: %w", err)
		}
		p.add("cp", vars, p.vars)
	}
	if len(c.Files) > 0 {
		if err := p.addFiles(c.Files); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// addRAM puts the RAM into a file that outlives QEMU: in memory, or in dir where
// the host cannot do that. It begins as a copy of the file at path from, unless
// that is "".
func (p *prepared) addRAM(from string) error {
	var err error
	if p.ramFile, p.ram, err = memoryFile(); err != nil {
		p.ram = filepath.Join(p.dir, "ram")
	}
	p.ownRAM = true
	if from == "" {
		return nil
	}
	return sparseCopy(p.ram, from)
}

// close gives up the RAM, unless a snapshot has taken it.
func (p *prepared) close() {
	if p.ramFile != nil {
		p.ramFile.Close()
	}
}

func (p *prepared) add(command ...string) { p.commands = append(p.commands, command) }

// forScript returns p without everything that ends with this process.
func (p *prepared) forScript() *prepared {
	q := *p
	q.initrd, q.ram, q.ownRAM = "", "", false
	return &q
}

// script returns a shell script that prepares the machine again and runs it on
// the terminal.
func (p *prepared) script(c *Config, args []string) string {
	run := append(append([]string{c.QEMU}, args...), interactive...)
	commands := append(p.commands[:len(p.commands):len(p.commands)], run)
	return script{target: c.Target, dir: p.dir, commands: commands, resumed: c.Snapshot != nil}.String()
}

func (p *prepared) addLayer(c *Config, name string, disk Disk) error {
	base, err := filepath.Abs(disk.Path)
	if err != nil {
		return err
	}
	chain, err := qcow2.InspectChain(base, disk.Format)
	if err != nil {
		return fmt.Errorf("disk %s cannot be opened: %w", base, err)
	}
	layer := filepath.Join(p.dir, name)
	if err := qcow2.CreateLayer(layer, base, chain[0].Format); err != nil {
		return fmt.Errorf("disk %s: %w", base, err)
	}
	p.layers = append(p.layers, layer)
	qemuImg := c.QEMUImg
	if qemuImg == "" {
		qemuImg = "qemu-img"
	}
	p.add(qemuImg, "create", "-q", "-f", "qcow2", "-F", chain[0].Format, "-b", disk.Path, layer)
	return nil
}

func (p *prepared) addFiles(files []File) error {
	p.files = filepath.Join(p.dir, "files")
	if err := os.Mkdir(p.files, 0o700); err != nil {
		return err
	}
	p.add("mkdir", p.files)
	for _, file := range files {
		link := filepath.Join(p.files, file.Name)
		if err := os.Symlink(file.Path, link); err != nil {
			return err
		}
		p.add("ln", "-s", file.Path, link)
	}
	return nil
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
