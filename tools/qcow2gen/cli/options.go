package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A kind says how the value of a format option is read and printed.
type kind int

const (
	kindString kind = iota
	kindBool
	kindSize
	kindNumber
)

// kindNames are qemu-img's, for the list of options.
var kindNames = map[kind]string{
	kindString: "str",
	kindBool:   "bool (on/off)",
	kindSize:   "size",
	kindNumber: "num",
}

// A formatOption is a key that qemu-img create -o takes for qcow2.
type formatOption struct {
	name string
	kind kind
	// initial is the value where none is given, as qemu-img prints it; it
	// prints nothing where that is empty.
	initial string
	// help is empty if no value but the one that changes nothing is supported.
	help string
	// only are the values that are supported, if qemu-img has more.
	only []string
}

// formatOptions are in the order in which qemu-img prints them before it
// creates an image.
var formatOptions = []formatOption{
	{name: "encryption", kind: kindBool, only: []string{"off"}},
	{name: "cluster_size", kind: kindSize, initial: "65536", help: "qcow2 cluster size"},
	{name: "extended_l2", kind: kindBool, initial: "off", help: "Extended L2 tables"},
	{name: "preallocation", help: "Preallocation mode (allowed values: off, metadata)", only: []string{"off", "metadata"}},
	{name: "compression_type", initial: "zlib", help: "Compression method used for image cluster compression"},
	{name: "keep_data_file", kind: kindBool, help: "Assume the external data file already exists and do not overwrite it"},
	{name: "size", kind: kindSize, help: "Virtual disk size"},
	{name: "compat", help: "Compatibility level (v2 [0.10] or v3 [1.1])"},
	{name: "backing_file", help: "File name of a base image"},
	{name: "backing_fmt", help: "Image format of the base image"},
	{name: "data_file", help: "File name of an external data file"},
	{name: "data_file_raw", kind: kindBool, help: "The external data file must stay valid as a raw image"},
	{name: "lazy_refcounts", kind: kindBool, initial: "off", help: "Postpone refcount updates"},
	{name: "refcount_bits", kind: kindNumber, initial: "16", help: "Width of a reference count entry in bits"},
	{name: "nocow", kind: kindBool, only: []string{"off"}},
	{name: "extent_size_hint", kind: kindSize, only: []string{"0"}},
}

// A formatValue is the value of a format option that is given.
type formatValue struct {
	text   string
	on     bool   // of a kindBool
	number uint64 // of a kindSize or kindNumber
}

// formatValues are those that are given, by name.
type formatValues map[string]formatValue

// set reads a value. One that is set before is replaced.
func (v formatValues) set(name, text string) error {
	if name == "id" {
		return nil // which qemu-img takes for a name of the whole list
	}
	if strings.HasPrefix(name, "encrypt.") {
		return fmt.Errorf("option %s is not supported, images are made without encryption only", name)
	}
	i := slices.IndexFunc(formatOptions, func(o formatOption) bool { return o.name == name })
	if i < 0 {
		return fmt.Errorf("option %q is no option of qcow2 (see qcow2gen create -o help)", name)
	}
	o := formatOptions[i]
	value := formatValue{text: text}
	var err error
	switch o.kind {
	case kindBool:
		value.on, err = parseBool(text)
	case kindSize:
		value.number, err = parseSize(text)
	case kindNumber:
		value.number, err = parseNumber(text)
	}
	if err != nil {
		return fmt.Errorf("option %s is %q: %w", name, text, err)
	}
	if o.only != nil && !slices.Contains(o.only, value.canonical(o.kind)) {
		return fmt.Errorf("option %s is %q, which is not supported; allowed is %s", name, text, strings.Join(o.only, ", "))
	}
	v[name] = value
	return nil
}

// parseBool reads what QEMU takes for a truth value (qapi_bool_parse).
func parseBool(text string) (bool, error) {
	switch text {
	case "on", "yes", "true", "y":
		return true, nil
	case "off", "no", "false", "n":
		return false, nil
	}
	return false, fmt.Errorf("allowed are on and off")
}

// canonical is the one way to write the value.
func (v formatValue) canonical(k kind) string {
	switch {
	case k == kindSize || k == kindNumber:
		return strconv.FormatUint(v.number, 10)
	case k == kindBool && v.on:
		return "on"
	case k == kindBool:
		return "off"
	}
	return v.text
}

func (v formatValues) has(name string) bool { _, ok := v[name]; return ok }

// formatting is the line that qemu-img prints before it creates an image.
func (v formatValues) formatting(file string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Formatting '%s', fmt=qcow2", file)
	for _, o := range formatOptions {
		text := o.initial
		if value, ok := v[o.name]; ok {
			switch o.kind {
			case kindString:
				text = escapeValue(value.text)
			case kindBool:
				text = value.text
			default:
				text = value.canonical(o.kind)
			}
		} else if text == "" {
			continue
		}
		fmt.Fprintf(&b, " %s=%s", o.name, text)
	}
	b.WriteByte('\n')
	return b.String()
}

// optionHelp is qemu-img's list of options, without those that are not
// supported.
func optionHelp() string {
	var lines []string
	for _, o := range formatOptions {
		if o.help != "" {
			lines = append(lines, fmt.Sprintf("  %-22s - %s\n", o.name+"=<"+kindNames[o.kind]+">", o.help))
		}
	}
	slices.Sort(lines)
	return "Supported qcow2 options:\n" + strings.Join(lines, "")
}
