// Command qcow2gen makes qcow2 images without guest data, and says what is in
// a header. Its command line is qemu-img's; Bazel keeps it running as a
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
