// Package cli is the command line of qcow2gen. It has the commands check,
// commit, compare, convert, create, info, map and rebase of qemu-img, with the same options, output and
// exit codes, and one command of its own, layer. Unsupported commands and options
// are errors.
package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// A command runs with the arguments after its name.
type command struct {
	name string
	run  func(args []string, stdin io.Reader, stdout io.Writer) error
	help string
}

var commands = []command{
	{"check", noInput(runCheck), checkHelp},
	{"commit", noInput(runCommit), commitHelp},
	{"compare", noInput(runCompare), compareHelp},
	{"convert", runConvert, convertHelp},
	{"create", noInput(runCreate), createHelp},
	{"info", noInput(runInfo), infoHelp},
	{"layer", noInput(runLayer), layerHelp},
	{"map", noInput(runMap), mapHelp},
	{"rebase", noInput(runRebase), rebaseHelp},
}

// noInput returns the run function of a command that does not read the standard
// input.
func noInput(run func(args []string, stdout io.Writer) error) func([]string, io.Reader, io.Writer) error {
	return func(args []string, _ io.Reader, stdout io.Writer) error { return run(args, stdout) }
}

// An exitError ends the program with its own exit code and error lines.
type exitError struct {
	code int
	error
	details []string // lines after the message
}

func (e *exitError) Unwrap() error { return e.error }

// Main runs the command line args, which begins with the program's name, and
// returns the exit code: 0 for success, 1 for an error, or the code that
// qemu-img has for the result. Without a standard input, stdin is nil.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	err := run(args[min(1, len(args)):], stdin, stdout)
	if err == nil {
		return 0
	}
	if errors.Is(err, errDifferent) {
		return exitDifferent
	}
	fmt.Fprintf(stderr, "qcow2gen: %s\n", oneLine(err.Error()))
	var exit *exitError
	if !errors.As(err, &exit) {
		return 1
	}
	for _, line := range exit.details {
		fmt.Fprintln(stderr, oneLine(line))
	}
	return exit.code
}

func run(args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) == 0 {
		return errors.New("command is missing; use " + commandNames() + " (see qcow2gen --help)")
	}
	if args[0] == "--help" || args[0] == "-h" {
		return print(stdout, help)
	}
	for _, c := range commands {
		if c.name != args[0] {
			continue
		}
		err := c.run(args[1:], stdin, stdout)
		if errors.Is(err, errHelp) {
			return print(stdout, c.help)
		}
		var usage *usage
		if errors.As(err, &usage) {
			return fmt.Errorf("%s: %w (see qcow2gen %s --help)", c.name, err, c.name)
		}
		return err
	}
	return fmt.Errorf("command %q is not supported; use %s (see qcow2gen --help)", args[0], commandNames())
}

// commandNames lists the commands for messages.
func commandNames() string {
	var names []string
	for _, c := range commands {
		names = append(names, c.name)
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

func print(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

// A usage is an error in the syntax of the command line.
type usage struct{ text string }

func (u *usage) Error() string { return u.text }

func usageError(format string, args ...any) error {
	return &usage{fmt.Sprintf(format, args...)}
}

// oneLine escapes newlines, which a file name may contain.
func oneLine(text string) string { return strings.ReplaceAll(text, "\n", `\n`) }

// reason returns the message of err without the file name and without the
// library's prefix. The caller adds the file name that the user gave.
func reason(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	var linkError *os.LinkError
	if errors.As(err, &linkError) {
		return linkError.Err.Error()
	}
	return strings.TrimPrefix(err.Error(), "qcow2: ")
}

// filePath returns the path for an image name on the command line. Like qemu-img
// it accepts "file:" before the path. Other protocols are errors.
func filePath(name string) (string, error) {
	path, isFile := strings.CutPrefix(name, "file:")
	if i := strings.IndexAny(path, ":/"); !isFile && i >= 0 && path[i] == ':' {
		return "", fmt.Errorf("%s: QEMU would read it as protocol %q, but only files are supported; put ./ in front to name a file", name, path[:i])
	}
	if path == "" {
		return "", fmt.Errorf("image file name %q is empty; give a path", name)
	}
	return path, nil
}
