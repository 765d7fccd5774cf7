// Command qcow2gen makes qcow2 images without guest data, and says what is in
// a header. Its command line is qemu-img's.
package main

import (
	"os"

	"github.com/rules-qcow2/rules_qcow2/tools/qcow2gen/cli"
)

func main() {
	os.Exit(cli.Main(os.Args, os.Stdout, os.Stderr))
}
