// Command qcow2gen creates qcow2 images without guest data, and describes and
// checks images. It has the command line of qemu-img. Bazel runs it as a
// persistent worker.
package main

import (
	"os"

	"github.com/rules-qcow2/rules_qcow2/tools/qcow2gen/cli"
	"github.com/rules-qcow2/rules_qcow2/tools/qcow2gen/worker"
)

func main() {
	os.Exit(worker.Main(os.Args, os.Stdin, os.Stdout, os.Stderr, cli.Main))
}
