module github.com/rules-qcow2/rules_qcow2/examples/machines

go 1.24.0

require (
	github.com/bazelbuild/rules_go v0.60.0
	// The kernel of the guests: vmlinuz is a file in the module.
	github.com/gokrazy/kernel.amd64 v0.0.0-20260705070735-de680abf072b
)
