module github.com/rules-qcow2/rules_qcow2

go 1.24.0

require github.com/bazelbuild/rules_go v0.60.0

require github.com/klauspost/compress v1.19.2
