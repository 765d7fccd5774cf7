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
	dir       string
	layers    []string // one per disk
	vars      string   // UEFI variables; "" without UEFI
	files     string   // folder of links to Config.Files; "" without files
	initrd    string   // with the agent; "" if no agent comes by an initrd
	agentDisk string   // folder with the agent; "" if no agent comes on a disk
	commands  [][]string
}

// prepare makes throwaway layers over the machine's disks, and a copy of its
// UEFI variables, in dir.
func prepare(c *Config, dir string) (*prepared, error) {
	p := &prepared{dir: dir}
	for i, disk := range c.Disks {
		if err := p.addLayer(c, fmt.Sprintf("disk%d.qcow2", i), disk); err != nil {
			return nil, err
		}
	}
	if c.UEFICode != "" {
		p.vars = filepath.Join(dir, "uefi-vars.fd")
		if err := copyFile(p.vars, c.UEFIVars); err != nil {
			return nil, fmt.Errorf("UEFI variables: %w", err)
		}
		p.add("cp", c.UEFIVars, p.vars)
	}
	if len(c.Files) > 0 {
		if err := p.addFiles(c.Files); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *prepared) add(command ...string) { p.commands = append(p.commands, command) }

// script returns a shell script that prepares the machine again and runs it on
// the terminal.
func (p *prepared) script(c *Config, args []string) string {
	run := append(append([]string{c.QEMU}, args...), interactive...)
	return script{target: c.Target, dir: p.dir, commands: append(p.commands[:len(p.commands):len(p.commands)], run)}.String()
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
