package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// Exit codes of qemu-img check, besides 0 and 1.
const (
	exitCorrupt     = 2
	exitLeaks       = 3
	exitUnsupported = 63 // this format cannot be checked
)

const checkHelp = `Usage:
  qcow2gen check [-f FMT] [-U] [--output human|json] [-q] [--report-output FILE]
        FILE

Check whether the metadata of an image is consistent. Unlike qemu-img this
opens only FILE: the backing file and the external data file may be missing, and
an encrypted image does not need a key.

Arguments:
  -h, --help
     print this help and exit
  -f, --format FMT
     specifies the format of the image explicitly
     (default: the format that its first bytes show)
  -U, --force-share
     also check an image that QEMU has open for writing
  --output human|json
     output format (default: human)
  -q, --quiet
     quiet mode (produce only error messages if any)
  FILE
     name of the image file

Argument that qemu-img does not have:
  --report-output FILE
     write the report to FILE, which is created only if the image is clean

The exit code is 0 if the image is clean, 1 if it could not be checked, 2 if it
is corrupt, 3 if its only errors are leaked clusters, 63 if its format cannot be
checked.
`

func runCheck(args []string, stdout io.Writer) error {
	var format, output, reportOutput string
	var shared, quiet bool
	notHere := "use only -f, -U, --output, --report-output and -q"
	rest, err := parseOptions(args, []option{
		{"h", "help", false, func(string) error { return errHelp }},
		{"f", "format", true, store(&format)},
		{"U", "force-share", false, set(&shared)},
		{"", "output", true, store(&output)},
		{"q", "quiet", false, set(&quiet)},
		{"", "report-output", true, store(&reportOutput)},
		{"r", "repair", true, unsupported("--repair", "check does not write to images")},
		{"", "image-opts", false, unsupported("--image-opts", notHere)},
		{"T", "cache", true, unsupported("--cache", notHere)},
		{"", "object", true, unsupported("--object", notHere)},
	})
	if err != nil {
		return err
	}
	if output != "" && output != "human" && output != "json" {
		return usageError("--output must be 'human' or 'json', not '%s'", output)
	}
	if len(rest) != 1 {
		return usageError("want one image file name, got %d", len(rest))
	}
	path, err := filePath(rest[0])
	if err != nil {
		return err
	}
	result, err := checkImage(path, format, shared)
	if err != nil {
		return err
	}
	text := checkHuman(result)
	if output == "json" {
		text = checkJSON(result, rest[0])
	}
	verdict := checkVerdict(result, path)
	if reportOutput != "" && verdict == nil {
		return writeReport(reportOutput, text)
	}
	if !quiet {
		if err := print(stdout, text); err != nil {
			return err
		}
	}
	return verdict
}

// writeReport writes the report of a clean image. A build needs the file to
// succeed.
func writeReport(path, text string) error {
	out := &outputs{}
	defer out.discard()
	f, err := out.create(path)
	if err == nil {
		_, err = io.WriteString(f, text)
	}
	if err == nil {
		err = out.commit()
	}
	if err != nil {
		return fmt.Errorf("--report-output %s: %s", path, reason(err))
	}
	return nil
}

func checkImage(path, format string, shared bool) (*qcow2.CheckResult, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %s", path, reason(err))
	}
	defer f.Close()
	if !shared && beingWritten(f) {
		return nil, fmt.Errorf("%s: QEMU has it open for writing, so it can change during the check; close it or use -U", path)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("%s: %s", path, reason(err))
	}
	if format == "" {
		if format, err = qcow2.ProbeFormat(f); err != nil {
			return nil, fmt.Errorf("%s: %s", path, reason(err))
		}
	}
	if format != qcow2.FormatQCOW2 {
		return nil, &exitError{code: exitUnsupported, error: fmt.Errorf("%s: format %q cannot be checked, only qcow2 can", path, format)}
	}
	result, err := qcow2.Check(f, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %s", path, reason(err))
	}
	return result, nil
}

// checkVerdict returns nil for a clean image, or an error with the problems and
// the exit code of qemu-img check.
func checkVerdict(result *qcow2.CheckResult, path string) error {
	verdict := &exitError{details: result.Problems}
	switch {
	case result.CheckErrors > 0:
		verdict.code, verdict.error = 1, fmt.Errorf("%s: parts of the image could not be checked, for the reasons below", path)
	case result.Corruptions > 0:
		verdict.code, verdict.error = exitCorrupt, fmt.Errorf("%s: the image is corrupt, as listed below; create it again, or repair it with qemu-img check -r all", path)
	case result.Leaks > 0:
		verdict.code, verdict.error = exitLeaks, fmt.Errorf("%s: the image has leaked clusters, as listed below, which take space; create it again, or free them with qemu-img check -r leaks", path)
	default:
		return nil
	}
	return verdict
}

func checkJSON(result *qcow2.CheckResult, name string) string {
	var o jsonObject
	for _, m := range []struct {
		key      string
		value    uint64
		optional bool
	}{
		{"image-end-offset", result.ImageEndOffset, true},
		{"compressed-clusters", result.CompressedClusters, true},
		{"total-clusters", result.TotalClusters, true},
		{"corruptions", result.Corruptions, true},
		{"check-errors", result.CheckErrors, false},
		{"leaks", result.Leaks, true},
		{"allocated-clusters", result.AllocatedClusters, true},
	} {
		if m.value != 0 || !m.optional {
			o = append(o, jsonMember{m.key, m.value})
		}
	}
	o = append(o, jsonObject{{"filename", name}, {"format", qcow2.FormatQCOW2}}...)
	if result.FragmentedClusters != 0 {
		o = append(o, jsonMember{"fragmented-clusters", result.FragmentedClusters})
	}
	var b strings.Builder
	appendJSON(&b, o, "\n")
	b.WriteByte('\n')
	return b.String()
}

func checkHuman(result *qcow2.CheckResult) string {
	var b strings.Builder
	if result.Corruptions|result.Leaks|result.CheckErrors == 0 {
		b.WriteString("No errors were found on the image.\n")
	}
	if n := result.Corruptions; n != 0 {
		fmt.Fprintf(&b, "\n%d errors were found on the image.\nData may be corrupted, or further writes to the image may corrupt it.\n", n)
	}
	if n := result.Leaks; n != 0 {
		fmt.Fprintf(&b, "\n%d leaked clusters were found on the image.\nThis means waste of disk space, but no harm to data.\n", n)
	}
	if n := result.CheckErrors; n != 0 {
		fmt.Fprintf(&b, "\n%d internal errors have occurred during the check.\n", n)
	}
	if result.TotalClusters != 0 && result.AllocatedClusters != 0 {
		percent := func(part, whole uint64) float64 { return float64(part) * 100 / float64(whole) }
		fmt.Fprintf(&b, "%d/%d = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% compressed clusters\n",
			result.AllocatedClusters, result.TotalClusters, percent(result.AllocatedClusters, result.TotalClusters),
			percent(result.FragmentedClusters, result.AllocatedClusters), percent(result.CompressedClusters, result.AllocatedClusters))
	}
	if result.ImageEndOffset > 0 {
		fmt.Fprintf(&b, "Image end offset: %d\n", result.ImageEndOffset)
	}
	return b.String()
}
