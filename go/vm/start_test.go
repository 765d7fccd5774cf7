package vm

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/go/vm/network"
)

// A start that fails before QEMU runs has its own error, and leaves nothing.
func TestStartFailsBeforeQEMU(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	n, err := network.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	for _, test := range []struct {
		name   string
		change func(*machine.Config, *Options)
		word   string
	}{
		{"static addresses without an agent", func(c *machine.Config, o *Options) { o.Static = true }, "static addresses need an agent"},
		{"unknown interface", func(c *machine.Config, o *Options) {
			c.Disks = []machine.Disk{{Path: disk, Format: "raw", Interface: "sata"}}
		}, `interface "sata" is not supported`},
		{"missing disk", func(c *machine.Config, o *Options) {
			c.Disks = []machine.Disk{{Path: disk + ".missing", Format: "raw", Interface: "virtio"}}
		}, "disk.img.missing"},
		{"missing folder for logs", func(c *machine.Config, o *Options) { o.Logs = disk + ".missing" }, "disk.img.missing"},
		{"missing agent", func(c *machine.Config, o *Options) {
			o.Agent, c.Agent, c.AgentProgram = true, machine.AgentInitrd, disk+".missing"
		}, "disk.img.missing"},
		{"one network twice", func(c *machine.Config, o *Options) { o.Networks = []*network.Network{n, n} }, "the name is in use"},
		{"missing QEMU", func(c *machine.Config, o *Options) { c.QEMU = disk + ".missing" }, "QEMU did not start"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := fakeMachine(t, "runs")
			o := Options{Dir: t.TempDir(), Logs: t.TempDir(), Networks: []*network.Network{n}, Saveable: true}
			test.change(c, &o)
			before := descriptors(t)
			m, err := Start(t.Context(), c, o)
			if err == nil {
				m.Close()
			}
			wantWords(t, err, test.word)
			if after := descriptors(t); !slices.Equal(after, before) {
				t.Errorf("open files: %q, and before the start: %q", after, before)
			}
			// A port that is left would have the name.
			port, err := n.Attach(o.HostName(c))
			if err != nil {
				t.Fatal(err)
			}
			port.Close()
		})
	}
}

// descriptors returns what the file descriptors of this process refer to, in order.
func descriptors(t *testing.T) (files []string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return nil
	}
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		// That of the folder itself is closed by now.
		if file, err := os.Readlink(link); err == nil {
			files = append(files, file)
		}
	}
	slices.Sort(files)
	return files
}
