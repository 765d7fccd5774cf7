package vm

import "github.com/rules-qcow2/rules_qcow2/go/vm/network"

// An Option changes Options: a parameter of vmtest.Start.
type Option func(*Options)

// On attaches the machine to a network, with one more network card.
func On(n *network.Network) Option {
	return func(o *Options) { o.Networks = append(o.Networks, n) }
}

// Static makes the agent set the addresses of the machine's network cards, its host
// name and its DNS server as soon as it answers. Without it the guest needs a DHCP
// client. It needs an agent.
func Static() Option {
	return func(o *Options) { o.Static = true }
}

// Named sets the machine's host name on its networks, and its name in errors.
func Named(name string) Option {
	return func(o *Options) { o.Name = name }
}

// Saveable makes it possible to freeze a machine that resumes: a fork, or the
// machine of a qemu_snapshot. Its RAM is copied. In vmtest, machines that boot can
// always be frozen.
func Saveable() Option {
	return func(o *Options) { o.Saveable = true }
}

// FailOn replaces the patterns that end the machine when the console shows them.
func FailOn(patterns ...string) Option {
	return func(o *Options) { o.FailOn = patterns }
}
