package vm

import (
	"fmt"
	"regexp"
	"strings"
)

// A script is a POSIX shell script that makes a machine's layers and starts
// QEMU.
type script struct {
	target   string
	dir      string // folder of the machine's files; $dir in the script
	commands [][]string
	resumed  bool // the machine did not boot
}

// sandbox is the part of a path that exists only in Bazel's sandbox.
var sandbox = regexp.MustCompile(`/sandbox/[a-z-]+/[0-9]+/execroot/`)

func (s script) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Runs QEMU as %s does, on new layers: sh FILE\n", s.target)
	fmt.Fprintf(&b, "# Ctrl-A X leaves. The guest's writes stay in $dir.\n")
	if s.resumed {
		b.WriteString("# The machine resumed from a snapshot; this boots it from its disks.\n")
	}
	b.WriteString("set -eu\ndir=$(mktemp -d)\n")
	for _, command := range s.commands {
		for i, word := range command {
			if i > 0 {
				if strings.HasPrefix(word, "-") {
					b.WriteString(" \\\n ")
				}
				b.WriteString(" ")
			}
			b.WriteString(s.quote(word))
		}
		b.WriteString("\n")
	}
	return b.String()
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// quote quotes a word for the shell. The folder in it becomes $dir.
func (s script) quote(word string) string {
	parts := strings.Split(word, s.dir)
	for i, part := range parts {
		part = sandbox.ReplaceAllString(part, "/execroot/")
		if part != "" && !plain.MatchString(part) || len(parts) == 1 && part == "" {
			part = "'" + strings.ReplaceAll(part, "'", `'\''`) + "'"
		}
		parts[i] = part
	}
	return strings.Join(parts, `"$dir"`)
}
