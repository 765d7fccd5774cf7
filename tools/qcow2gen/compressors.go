package main

// Only builds with a qcow2_image compile this file, and fetch the Go module of the
// compressors.
import _ "github.com/rules-qcow2/rules_qcow2/go/qcow2/compress"
