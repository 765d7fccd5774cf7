module github.com/rules-qcow2/rules_qcow2/e2e/debian/kernel

go 1.24.0

// A kernel with 9p, for a benchmark: vmlinuz is a file in the module.
require github.com/gokrazy/kernel.amd64 v0.0.0-20260705070735-de680abf072b
