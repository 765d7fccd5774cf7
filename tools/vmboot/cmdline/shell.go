package cmdline

import (
	"fmt"
	"regexp"
	"strings"
)

// A Script is a command line for a POSIX shell that makes anew what a machine
// wrote to, and starts QEMU on that.
type Script struct {
	Target   string
	Dir      string // the folder with what the machine writes to
	Commands [][]string
}

// sandbox is what a path has in a sandbox of Bazel's, and not outside.
var sandbox = regexp.MustCompile(`/sandbox/[a-z-]+/[0-9]+/execroot/`)

func (s *Script) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# QEMU as %s ran it, on layers of its own: sh FILE\n", s.Target)
	fmt.Fprintf(&b, "# Ctrl-A X leaves. What the guest writes stays in $dir.\n")
	b.WriteString("set -eu\ndir=$(mktemp -d)\n")
	for _, command := range s.Commands {
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

// quote quotes a word for the shell; the folder in it becomes $dir.
func (s *Script) quote(word string) string {
	parts := strings.Split(word, s.Dir)
	for i, part := range parts {
		part = sandbox.ReplaceAllString(part, "/execroot/")
		if part != "" && !plain.MatchString(part) || len(parts) == 1 && part == "" {
			part = "'" + strings.ReplaceAll(part, "'", `'\''`) + "'"
		}
		parts[i] = part
	}
	return strings.Join(parts, `"$dir"`)
}
