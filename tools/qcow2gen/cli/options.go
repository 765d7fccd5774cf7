package cli

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// A kind determines how the value of a format option is read and printed.
type kind int

const (
	kindString kind = iota
	kindBool
	kindSize
	kindNumber
)

// kindNames are the names in qemu-img's list of options.
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
	// initial is the default value as qemu-img prints it; it prints nothing if
	// initial is empty.
	initial string
	// help is empty if only the value that changes nothing is supported.
	help string
	// only lists the supported values if qemu-img has more.
	only []string
	// apply returns the library's option for a value. Every row needs one: an
	// option without it is refused.
	apply applyFunc
}

// An applyFunc returns nil if the library does not need to know the value.
type applyFunc func(formatValue) (*qcow2.GenerateOption, error)

// formatOptions are in the order in which qemu-img prints them before it
// creates an image.
var formatOptions = []formatOption{
	{name: "encryption", kind: kindBool, only: []string{"off"}, apply: changesNothing},
	{name: "cluster_size", kind: kindSize, initial: strconv.FormatUint(qcow2.DefaultClusterSize, 10), help: "qcow2 cluster size", apply: fromNumber(qcow2.GenerateWithClusterSize)},
	{name: "extended_l2", kind: kindBool, initial: "off", help: "Extended L2 tables", apply: fromBool(qcow2.GenerateWithExtendedL2)},
	{name: "preallocation", help: "Preallocation mode (allowed values: off, metadata)", only: []string{"off", "metadata"}, apply: fromText(qcow2.GenerateWithPreallocation)},
	{name: "compression_type", initial: "zlib", help: "Compression method used for image cluster compression", apply: fromText(qcow2.GenerateWithCompressionType)},
	{name: "keep_data_file", kind: kindBool, help: "Assume the external data file already exists and do not overwrite it", apply: usedByCreate},
	{name: "size", kind: kindSize, help: "Virtual disk size", apply: fromNumber(qcow2.GenerateWithFileSize)},
	{name: "compat", help: "Compatibility level (v2 [0.10] or v3 [1.1])", apply: applyCompat},
	{name: "backing_file", help: "File name of a base image", apply: fromText(qcow2.GenerateWithBackingFile)},
	{name: "backing_fmt", help: "Image format of the base image", apply: fromText(qcow2.GenerateWithBackingFormat)},
	{name: "data_file", help: "File name of an external data file", apply: applyDataFile},
	{name: "data_file_raw", kind: kindBool, help: "The external data file must stay valid as a raw image", apply: fromBool(qcow2.GenerateWithDataFileRaw)},
	{name: "lazy_refcounts", kind: kindBool, initial: "off", help: "Postpone refcount updates", apply: fromBool(qcow2.GenerateWithLazyRefcounts)},
	{name: "refcount_bits", kind: kindNumber, initial: "16", help: "Width of a reference count entry in bits", apply: fromNumber(generateWithRefcountBits)},
	{name: "nocow", kind: kindBool, only: []string{"off"}, apply: changesNothing},
	{name: "extent_size_hint", kind: kindSize, only: []string{"0"}, apply: changesNothing},
}

func fromBool(option func(bool) *qcow2.GenerateOption) applyFunc {
	return func(v formatValue) (*qcow2.GenerateOption, error) { return option(v.on), nil }
}

func fromNumber(option func(uint64) *qcow2.GenerateOption) applyFunc {
	return func(v formatValue) (*qcow2.GenerateOption, error) { return option(v.number), nil }
}

func fromText[T ~string](option func(T) *qcow2.GenerateOption) applyFunc {
	return func(v formatValue) (*qcow2.GenerateOption, error) { return option(T(v.text)), nil }
}

// changesNothing is for options of which only the default is supported.
func changesNothing(formatValue) (*qcow2.GenerateOption, error) { return nil, nil }

// usedByCreate is for options that the library does not have. The command
// create reads their values.
func usedByCreate(formatValue) (*qcow2.GenerateOption, error) { return nil, nil }

func applyCompat(v formatValue) (*qcow2.GenerateOption, error) {
	switch v.text {
	case "0.10", "v2":
		return qcow2.GenerateWithVersion(2), nil
	case "1.1", "v3":
		return qcow2.GenerateWithVersion(3), nil
	}
	return nil, fmt.Errorf("compat is %q; use 0.10 (v2) or 1.1 (v3)", v.text)
}

// applyDataFile drops "file:", of which QEMU stores only the path.
func applyDataFile(v formatValue) (*qcow2.GenerateOption, error) {
	return qcow2.GenerateWithDataFile(dataFileName(v.text)), nil
}

func generateWithRefcountBits(bits uint64) *qcow2.GenerateOption {
	return qcow2.GenerateWithRefcountBits(int(min(bits, math.MaxInt32)))
}

// A formatValue is the value of a format option on the command line.
type formatValue struct {
	text   string
	on     bool   // of a kindBool
	number uint64 // of a kindSize or kindNumber
}

// formatValues are the values on the command line by the names of their options.
type formatValues map[string]formatValue

// set reads a value. It replaces an earlier value of the same option.
func (v formatValues) set(name, text string) error {
	if name == "id" {
		return nil // qemu-img reads it as a name of the whole list
	}
	if strings.HasPrefix(name, "encrypt.") {
		return fmt.Errorf("option %s is not supported; qcow2gen does not encrypt images", name)
	}
	i := slices.IndexFunc(formatOptions, func(o formatOption) bool { return o.name == name })
	if i < 0 {
		return fmt.Errorf("unknown option %q (see qcow2gen create -o help)", name)
	}
	o := formatOptions[i]
	if o.apply == nil {
		return fmt.Errorf("option %s is not supported", name)
	}
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
		return fmt.Errorf("option %s is %q, which is not supported; use %s", name, text, strings.Join(o.only, " or "))
	}
	v[name] = value
	return nil
}

// parseBool accepts the same words as QEMU (qapi_bool_parse).
func parseBool(text string) (bool, error) {
	switch text {
	case "on", "yes", "true", "y":
		return true, nil
	case "off", "no", "false", "n":
		return false, nil
	}
	return false, errors.New("use on or off")
}

// canonical returns the value in the same form however it was written.
func (v formatValue) canonical(k kind) string {
	switch {
	case k == kindSize || k == kindNumber:
		return strconv.FormatUint(v.number, 10)
	case k == kindBool:
		return onOff(v.on)
	}
	return v.text
}

func onOff(v bool) string {
	if v {
		return "on"
	}
	return "off"
}

func (v formatValues) has(name string) bool { _, ok := v[name]; return ok }

// generateOptions returns the library's options for the values.
func (v formatValues) generateOptions() ([]*qcow2.GenerateOption, error) {
	var opts []*qcow2.GenerateOption
	for _, o := range formatOptions {
		value, ok := v[o.name]
		if !ok {
			continue
		}
		opt, err := o.apply(value)
		if err != nil {
			return nil, err
		}
		if opt != nil {
			opts = append(opts, opt)
		}
	}
	return opts, nil
}

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

// optionHelp is qemu-img's list of options without the unsupported ones.
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
