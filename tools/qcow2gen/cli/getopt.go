package cli

import (
	"fmt"
	"strings"
)

// This file reads options as GNU getopt_long does, which qemu-img uses. Go's
// package flag supports neither "-quF raw" nor options after arguments, and a
// module would be a dependency of every build that uses the ruleset.

// An option is an option of a command.
type option struct {
	short    string // one-letter names, usually one
	long     string // without the dashes
	argument bool   // whether it takes an argument
	// use is called each time the option is given. The value is "" without an
	// argument. An error ends the reading.
	use func(value string) error
}

// parseOptions calls use for the options in args, in their order, and returns
// the other arguments. Options and arguments may be mixed; after "--" there are
// only arguments.
func parseOptions(args []string, options []option) (rest []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			return append(rest, args...), nil
		case strings.HasPrefix(arg, "--"):
			args, err = useLong(arg[2:], args, options)
		case len(arg) > 1 && arg[0] == '-':
			args, err = useShort(arg[1:], args, options)
		default:
			rest = append(rest, arg) // "-" too
		}
		if err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// useLong uses one option, "name" or "name=value", and returns the arguments
// after it.
func useLong(arg string, args []string, options []option) ([]string, error) {
	name, value, hasValue := strings.Cut(arg, "=")
	o, err := findLong(name, options)
	if err != nil {
		return nil, err
	}
	if !o.argument && hasValue {
		return nil, usageError("option '--%s' doesn't allow an argument", o.long)
	}
	if o.argument && !hasValue {
		if len(args) == 0 {
			return nil, usageError("option '--%s' requires an argument", o.long)
		}
		value, args = args[0], args[1:]
	}
	return args, o.use(value)
}

// findLong returns the option with that name, or the only one that begins with
// it.
func findLong(name string, options []option) (*option, error) {
	var found []*option
	for i := range options {
		if options[i].long == name {
			return &options[i], nil
		}
		if strings.HasPrefix(options[i].long, name) {
			found = append(found, &options[i])
		}
	}
	switch len(found) {
	case 0:
		return nil, usageError("unrecognized option '--%s'", name)
	case 1:
		return found[0], nil
	}
	var names []string
	for _, o := range found {
		names = append(names, "'--"+o.long+"'")
	}
	return nil, usageError("option '--%s' is ambiguous; possibilities: %s", name, strings.Join(names, " "))
}

// useShort uses the options of one argument, "qu" or "Fraw" or "quF", and
// returns the arguments after them.
func useShort(arg string, args []string, options []option) ([]string, error) {
	for i := range len(arg) {
		o, err := findShort(arg[i], options)
		if err != nil {
			return nil, err
		}
		if !o.argument {
			if err := o.use(""); err != nil {
				return nil, err
			}
			continue
		}
		value := arg[i+1:]
		if value == "" {
			if len(args) == 0 {
				return nil, usageError("option requires an argument -- '%s'", arg[i:i+1])
			}
			value, args = args[0], args[1:]
		}
		return args, o.use(value)
	}
	return args, nil
}

func findShort(c byte, options []option) (*option, error) {
	for i := range options {
		if strings.IndexByte(options[i].short, c) >= 0 {
			return &options[i], nil
		}
	}
	return nil, usageError("invalid option -- '%s'", []byte{c})
}

// set and store return the use function of most options.
func set(target *bool) func(string) error {
	return func(string) error { *target = true; return nil }
}

func store(target *string) func(string) error {
	return func(value string) error { *target = value; return nil }
}

// unsupported returns the use function of an option that only qemu-img has.
func unsupported(name, why string) func(string) error {
	return func(string) error { return fmt.Errorf("%s is not supported; %s", name, why) }
}
