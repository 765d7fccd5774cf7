// Command qcow2gen is [tools/qcow2gen] with compressors, for a shell and for the rule
// qcow2_image. It has the same command line, and it also compresses clusters, and reads
// those that are compressed with zstd.
//
//	go install github.com/rules-qcow2/rules_qcow2/cmd/qcow2gen@latest
//
// Every build that uses the ruleset compiles tools/qcow2gen. Only builds with a
// qcow2_image compile this program, and fetch the Go module of the compressors.
//
// [tools/qcow2gen]: https://pkg.go.dev/github.com/rules-qcow2/rules_qcow2/tools/qcow2gen
package main

import (
	"os"

	_ "github.com/rules-qcow2/rules_qcow2/go/qcow2/compress"
	"github.com/rules-qcow2/rules_qcow2/tools/qcow2gen/cli"
)

func main() {
	os.Exit(cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
}
