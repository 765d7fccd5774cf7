// Command qcow2gen is [tools/qcow2gen] for a shell. It has the same command line,
// and it also reads clusters that are compressed with zstd.
//
//	go install github.com/rules-qcow2/rules_qcow2/cmd/qcow2gen@latest
//
// Every build that uses the ruleset compiles tools/qcow2gen. It does not read
// guest data, so it does not need zstd, whose Go module would add repository
// rules to those builds.
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
