package vm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// prepared has the files that a machine may write to, and the commands that make them
// again.
type prepared struct {
	dir       string
	layers    []string // one per disk
	vars      string   // UEFI variables; "" without UEFI
	files     string   // folder of links to Config.Files; "" without files
	initrd    string   // with the agent; "" if no agent comes by an initrd
	agentDisk string   // folder with the agent; "" if no agent comes on a disk
	ram       string   // path of the RAM; "" if only QEMU has it
	ramFile   *os.File // holds ram open; nil if it is a named file
	ownRAM    bool     // the guest writes to ram
	// readOnlyRAM says that ram is a file that others use, too: an output of a
	// build.
	readOnlyRAM bool
	// copiedRAM says that ram is a copy because QEMU is too old to map another's.
	copiedRAM bool
	resumes   bool // the machine does not boot
	commands  [][]string
}

// prepare makes throwaway layers over the machine's disks, and a copy of its
// UEFI variables, in Options.Dir. Those of a machine that resumes are over the
// snapshot's.
func prepare(c *Config, o *Options) (*prepared, error) {
	p := &prepared{dir: o.Dir, resumes: c.Snapshot != nil}
	if err := p.addAll(c, o); err != nil {
		p.ramFile.Close() // of a nil file, an error
		return nil, err
	}
	return p, nil
}

func (p *prepared) addAll(c *Config, o *Options) error {
	if err := p.addRAM(c.Snapshot, o.Saveable); err != nil {
		return fmt.Errorf("RAM: %w", err)
	}
	vars := c.UEFIVars
	if c.Snapshot != nil {
		vars = c.Snapshot.UEFIVars
	}
	for i, disk := range c.Disks {
		if c.Snapshot != nil {
			disk.Path, disk.Format = c.Snapshot.Layers[i], "qcow2"
		}
		layer := Layer{Path: filepath.Join(o.Dir, fmt.Sprintf("disk%d.qcow2", i))}
		if o.Layers != nil {
			layer = o.Layers[i]
		}
		if err := p.addLayer(c, layer, disk); err != nil {
			return err
		}
	}
	if c.UEFICode != "" {
		p.vars = filepath.Join(o.Dir, "uefi-vars.fd")
		if err := copyFile(p.vars, vars); err != nil {
			return fmt.Errorf("UEFI variables: %w", err)
		}
		p.add("cp", vars, p.vars)
	}
	if len(c.Files) > 0 {
		if err := p.addFiles(c.Files); err != nil {
			return err
		}
	}
	return nil
}

// addRAM sets where the RAM is: in QEMU alone; in a snapshot; or, if it is
// saveable, in a file that outlives QEMU. That is a file in memory, or one in dir
// where the host cannot do that.
func (p *prepared) addRAM(s *Snapshot, saveable bool) error {
	if s != nil {
		p.ram = s.RAM
		p.readOnlyRAM = s.ram == nil && mapsReadOnly(s.fingerprint.QEMU)
	}
	if s != nil && s.ram == nil && !p.readOnlyRAM {
		saveable, p.copiedRAM = true, true
	}
	if !saveable {
		return nil
	}
	var err error
	if p.ramFile, p.ram, err = memoryFile(); err != nil {
		p.ram = filepath.Join(p.dir, "ram")
	}
	p.ownRAM, p.readOnlyRAM = true, false
	if s == nil {
		return nil
	}
	return sparseCopy(p.ram, s.RAM)
}

// mapsReadOnly reports whether a version of QEMU can map a file privately that it may
// only read: those since 8.2.
func mapsReadOnly(version string) bool { return qemuAtLeast(version, 8, 2) }

// copiedRAM says why a machine took more time and memory than others.
func copiedRAM(version string) string {
	return fmt.Sprintf("the snapshot's RAM was copied, because QEMU %s cannot map a read-only file privately; QEMU 8.2 and newer can", version)
}

func (p *prepared) add(command ...string) { p.commands = append(p.commands, command) }

// forScript returns p without everything that ends with this process.
func (p *prepared) forScript() *prepared {
	q := *p
	q.initrd, q.ram, q.resumes = "", "", false
	return &q
}

// script returns a shell script that prepares the machine again and runs it on
// the terminal.
func (p *prepared) script(c *Config, args []string) string {
	run := append(append([]string{c.QEMU}, args...), interactive...)
	commands := append(p.commands[:len(p.commands):len(p.commands)], run)
	return script{target: c.Target, dir: p.dir, commands: commands, resumed: c.Snapshot != nil}.String()
}

func (p *prepared) addLayer(c *Config, layer Layer, disk Disk) error {
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
	p.layers = append(p.layers, layer.Path)
	qemuImg := c.QEMUImg
	if qemuImg == "" {
		qemuImg = "qemu-img"
	}
	p.add(qemuImg, "create", "-q", "-f", "qcow2", "-F", chain[0].Format, "-b", disk.Path, filepath.Join(p.dir, filepath.Base(layer.Path)))
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
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
