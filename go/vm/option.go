package vm

import "github.com/rules-qcow2/rules_qcow2/go/vm/network"

// An Option changes Options: a parameter of vmtest.Start.
type Option func(*Options)

// On attaches the machine to a network, with one more network card.
func On(n *network.Network) Option {
	return func(o *Options) { o.Networks = append(o.Networks, n) }
}

// Named sets the machine's host name on its networks, and its name in errors.
func Named(name string) Option {
	return func(o *Options) { o.Name = name }
}

// FailOn replaces the patterns that end the machine when the console shows them.
func FailOn(patterns ...string) Option {
	return func(o *Options) { o.FailOn = patterns }
}
