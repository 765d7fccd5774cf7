// Package cli is the command line of qcow2gen: that of qemu-img, of which it
// takes the commands check, compare, create, info and map, with the same
// options, output and exit codes. What it does not support it refuses by name.
package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// A command runs with the arguments behind its name.
type command struct {
	name string
	run  func(args []string, stdout io.Writer) error
	help string
}

var commands = []command{
	{"create", runCreate, createHelp},
	{"info", runInfo, infoHelp},
	{"check", runCheck, checkHelp},
	{"map", runMap, mapHelp},
	{"compare", runCompare, compareHelp},
}

// An exitError ends the program with another exit code than 1, or with more
// than one line.
type exitError struct {
	code int
	error
	details []string // lines behind the message
}

func (e *exitError) Unwrap() error { return e.error }

// Main runs the command line args, the first of which is the program's name,
// and returns the exit code: 0, or 1 for any failure that qemu-img has no other
// code for.
func Main(args []string, stdout, stderr io.Writer) int {
	err := run(args[min(1, len(args)):], stdout)
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

func run(args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return errors.New("no command is given, allowed are check, compare, create, info and map (see qcow2gen --help)")
	}
	if args[0] == "--help" || args[0] == "-h" {
		return print(stdout, help)
	}
	for _, c := range commands {
		if c.name != args[0] {
			continue
		}
		err := c.run(args[1:], stdout)
		if errors.Is(err, errHelp) {
			return print(stdout, c.help)
		}
		var usage *usage
		if errors.As(err, &usage) {
			return fmt.Errorf("%s: %w (see qcow2gen %s --help)", c.name, err, c.name)
		}
		return err
	}
	return fmt.Errorf("command %q is not supported, allowed are check, compare, create, info and map (see qcow2gen --help)", args[0])
}

func print(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

// A usage is an error in how the command line is put together.
type usage struct{ text string }

func (u *usage) Error() string { return u.text }

func usageError(format string, args ...any) error {
	return &usage{fmt.Sprintf(format, args...)}
}

// oneLine is text, in which a file name may have newlines, in one line.
func oneLine(text string) string { return strings.ReplaceAll(text, "\n", `\n`) }

// reason is what err says without a file name that the caller names already,
// maybe by another name than the user's, and without the library's prefix.
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

// filePath returns the path of an image that is named on the command line,
// where qemu-img takes "file:" for a file as well. Names of other protocols
// are refused.
func filePath(name string) (string, error) {
	path, isFile := strings.CutPrefix(name, "file:")
	if i := strings.IndexAny(path, ":/"); !isFile && i >= 0 && path[i] == ':' {
		return "", fmt.Errorf("%s: it would be read as the protocol %q, only files are allowed (put ./ in front to name a file)", name, path[:i])
	}
	if path == "" {
		return "", fmt.Errorf("image file name %q is empty, a path is needed", name)
	}
	return path, nil
}
