package vmtest

import (
	"errors"

	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/go/vm/network"
)

// An Option is a parameter of Start or Fork. It changes the description of the machine or
// how it runs, so a test can write one for what is not here.
type Option func(*machine.Config, *vm.Options)

// WithNetwork attaches the machine to a network, with one more network card.
func WithNetwork(n *network.Network) Option {
	return func(_ *machine.Config, o *vm.Options) { o.Networks = append(o.Networks, n) }
}

// WithStaticAddresses makes the agent set the addresses of the machine's network cards, its
// host name and its DNS server as soon as it answers. Without it the guest needs a DHCP
// client. It needs an agent.
func WithStaticAddresses() Option {
	return func(_ *machine.Config, o *vm.Options) { o.Static = true }
}

// WithName sets the machine's host name on its networks, and its name in errors. The
// default is the name of its target, with "-" for "_".
func WithName(name string) Option {
	return func(_ *machine.Config, o *vm.Options) { o.Name = name }
}

// WithFailOn replaces the patterns that end the machine when the console shows them: the
// default is [vm.DefaultFailOn].
func WithFailOn(patterns ...string) Option {
	return func(_ *machine.Config, o *vm.Options) { o.FailOn = patterns }
}

// WithSaveable makes it possible to freeze a machine that resumes: a fork, or the
// machine of a qemu_snapshot. Its RAM is copied. Machines that boot can always be frozen.
func WithSaveable() Option {
	return func(_ *machine.Config, o *vm.Options) { o.Saveable = true }
}

// WithMemory sets the size of the RAM, as QEMU's -m takes it: "512M", "2G".
func WithMemory(size string) Option {
	return func(c *machine.Config, _ *vm.Options) { c.Memory = size }
}

// WithCPUs sets the number of processors.
func WithCPUs(n int) Option {
	return func(c *machine.Config, _ *vm.Options) { c.CPUs = n }
}

// WithDisk adds a disk after those of the target. Its Path is one of the host. The
// guest's writes go to a layer that is removed with the machine. The default of its
// Interface is virtio.
func WithDisk(disk machine.Disk) Option {
	if disk.Interface == "" {
		disk.Interface = "virtio"
	}
	return func(c *machine.Config, _ *vm.Options) { c.Disks = append(c.Disks[:len(c.Disks):len(c.Disks)], disk) }
}

// apply returns copies of a description and options with changes.
func apply(c *machine.Config, o vm.Options, opts []Option) (*machine.Config, vm.Options) {
	changed := *c
	for _, option := range opts {
		option(&changed, &o)
	}
	return &changed, o
}

// errForkDiffers is the error of a Fork with an option such as WithMemory.
var errForkDiffers = errors.New("a fork has the memory, the processors and the disks of the machine that it is made from: set them where that machine starts")
