// Command qcow2gen creates qcow2 images, and describes, checks, converts and changes
// them. It has the command line of qemu-img. Bazel runs it as a persistent worker.
//
//	go install github.com/rules-qcow2/rules_qcow2/tools/qcow2gen@latest
//
// Every build that uses the ruleset compiles the Bazel target qcow2gen, which does not
// have compressors: it neither compresses clusters, nor reads those that are compressed
// with zstd. The target qcow2convert is the program that Go builds.
package main

import (
	"os"

	"github.com/rules-qcow2/rules_qcow2/tools/qcow2gen/cli"
	"github.com/rules-qcow2/rules_qcow2/tools/qcow2gen/worker"
)

func main() {
	os.Exit(worker.Main(os.Args, os.Stdin, os.Stdout, os.Stderr, cli.Main))
}
