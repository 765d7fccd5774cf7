// Command qcow2gen is the generator of [tools/qcow2gen] for a shell: the same
// command line, and it reads clusters compressed with zstd as well.
//
//	go install github.com/rules-qcow2/rules_qcow2/cmd/qcow2gen@latest
//
// The generator itself, which every build that uses the ruleset compiles, has
// no zstd: making an overlay reads no guest data, and a Go module would bring
// repository rules into those builds.
//
// [tools/qcow2gen]: https://pkg.go.dev/github.com/rules-qcow2/rules_qcow2/tools/qcow2gen
package main

import (
	"os"

	_ "github.com/rules-qcow2/rules_qcow2/go/qcow2/zstd"
	"github.com/rules-qcow2/rules_qcow2/tools/qcow2gen/cli"
)

func main() {
	os.Exit(cli.Main(os.Args, os.Stdout, os.Stderr))
}
