module github.com/rules-qcow2/rules_qcow2/examples/machines

go 1.24.0

require (
	github.com/bazelbuild/rules_go v0.60.0
	// The kernels of the guests: vmlinuz is a file in each module.
	github.com/gokrazy/kernel.amd64 v0.0.0-20260705070735-de680abf072b
	github.com/gokrazy/kernel.arm64 v0.0.0-20260705071517-37841c4d6ff1
)
