package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// This file tests the options that only the Bazel rule uses, not qemu-img's.

func TestDetectBackingFormat(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, strings.Repeat("raw", 1000), dir, "base.raw")
	mustRun(t, dir, "create", "-q", "base.qcow2", "5M")
	for _, format := range []string{"raw", "qcow2"} {
		mustRun(t, dir, "create", "-q", "-b", "base."+format, "-F", format, "want.qcow2")
		mustRun(t, dir, "create", "-q", "-b", "base."+format, "--detect-backing-format", "t.qcow2")
		if readFile(t, dir, "t.qcow2") != readFile(t, dir, "want.qcow2") {
			t.Errorf("detected format of base.%s does not make the same image as -F %s", format, format)
		}
	}
	mustRefuse(t, dir, []string{"--detect-backing-format", "-F"}, "create", "-b", "base.raw", "-F", "raw", "--detect-backing-format", "x")
	mustRefuse(t, dir, []string{"--detect-backing-format", "-u"}, "create", "-u", "-b", "base.raw", "--detect-backing-format", "x", "1M")
	mustRefuse(t, dir, []string{"--detect-backing-format", "needs a backing file"}, "create", "--detect-backing-format", "x", "1M")
	writeFile(t, "KDMV and more of a VMDK file", dir, "vmdk")
	mustRefuse(t, dir, []string{"vmdk: it is a VMDK image"}, "create", "-b", "vmdk", "--detect-backing-format", "x", "1M")
}

// TestBackingInfo checks that the backing file may be missing.
func TestBackingInfo(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"raw.json":      `{"virtual-size": 3145728, "format": "raw"}`,
		"nosize.json":   `{"format": "raw"}`,
		"noformat.json": `{"virtual-size": 3145728}`,
		"negative.json": `{"virtual-size": -1, "format": "raw"}`,
		"odd.json":      `{"virtual-size": 1.5, "format": "raw"}`,
		"text.json":     `{"virtual-size": "3M", "format": "raw"}`,
		"foo.json":      `{"virtual-size": 3145728, "format": "foo"}`,
		"cut.json":      `{"virtual-size": 3145`,
		"empty.json":    ``,
	} {
		writeFile(t, text, dir, name)
	}
	info := func(name string) string { return "--backing-info=" + name }
	for _, c := range []struct{ ours, same string }{
		{info("raw.json"), "-F raw 3M"},
		{info("raw.json") + " 4M", "-F raw 4M"},
		{info("raw.json") + " 1M", "-F raw 1M"},
		{info("raw.json") + " -F qcow2", "-F qcow2 3M"},
		{info("raw.json") + " -u -F vmdk", "-F vmdk 3M"},
		{info("noformat.json") + " -F qcow2 8M", "-F qcow2 8M"},
		{info("raw.json") + " --no-shrink 3M", "-F raw 3M"},
	} {
		ours := mustRun(t, dir, append([]string{"create", "-b", "nowhere", "t.qcow2"}, strings.Fields(c.ours)...)...)
		made := readFile(t, dir, "t.qcow2")
		same := qemuimg.Must(t, dir, append([]string{"create", "-u", "-f", "qcow2", "-b", "nowhere", "t.qcow2"}, strings.Fields(c.same)...)...)
		if ours != same || made != readFile(t, dir, "t.qcow2") {
			t.Errorf("%s does not create the same image or print the same as qemu-img with %s:\n%s%s", c.ours, c.same, ours, same)
		}
	}
	for args, part := range map[string]string{
		info("nosize.json"):                           `"virtual-size"`,
		info("nosize.json") + " -F raw 1M":            `"virtual-size"`,
		info("noformat.json"):                         "needs a format",
		info("negative.json"):                         "qemu-img info --output=json",
		info("odd.json"):                              "qemu-img info --output=json",
		info("text.json"):                             "qemu-img info --output=json",
		info("foo.json"):                              `"foo" is not a format of QEMU`,
		info("cut.json"):                              "qemu-img info --output=json",
		info("empty.json"):                            "qemu-img info --output=json",
		info("nowhere.json"):                          "--backing-info nowhere.json: no such file",
		info("."):                                     "--backing-info .: is a directory",
		info("raw.json") + " --detect-backing-format": "--detect-backing-format cannot be used with --backing-info",
	} {
		mustRefuse(t, dir, []string{part}, append([]string{"create", "-b", "nowhere", "x"}, strings.Fields(args)...)...)
	}
	mustRefuse(t, dir, []string{"--backing-info", "needs a backing file"}, "create", info("raw.json"), "x", "1M")
}

// TestBackingInfoOfQemuImg uses the unchanged output of qemu-img info. It contains
// a second size, of the file below the format.
func TestBackingInfoOfQemuImg(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, dir, "create", "-q", "base.qcow2", "5M")
	writeFile(t, qemuimg.Must(t, dir, "info", "--output=json", "base.qcow2"), dir, "base.json")
	got := mustRun(t, dir, "create", "-b", "base.qcow2", "--backing-info=base.json", "t.qcow2")
	if want := mustRun(t, dir, "create", "-b", "base.qcow2", "-F", "qcow2", "t.qcow2"); got != want {
		t.Errorf("output is\n%swant\n%s", got, want)
	}
}

func TestNoShrink(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, strings.Repeat("r", 1000), dir, "base.raw")
	mustRun(t, dir, "create", "-q", "base.qcow2", "5M")
	for _, args := range []string{"-b base.raw -F raw 1000", "-b base.raw -F raw 1024", "-b base.raw -F raw 513", "-b base.raw -F raw", "-b base.qcow2 -F qcow2 5M", "-b base.qcow2 -F qcow2 6M", "-u -b base.qcow2 -F qcow2 1M"} {
		mustRun(t, dir, append([]string{"create", "-q", "--no-shrink", "t.qcow2"}, strings.Fields(args)...)...)
	}
	for _, args := range []string{"-b base.qcow2 -F qcow2 5242368", "-b base.qcow2 -F qcow2 -o size=1M", "-b base.qcow2 -F qcow2 0"} {
		mustRefuse(t, dir, []string{"less than", "base.qcow2", "5242880", "use at least that"}, append([]string{"create", "--no-shrink", "x"}, strings.Fields(args)...)...)
	}
	mustRefuse(t, dir, []string{"512 bytes", "1024"}, "create", "--no-shrink", "-b", "base.raw", "-F", "raw", "x", "512")
	mustRefuse(t, dir, []string{"--no-shrink", "needs a backing file"}, "create", "--no-shrink", "x", "1M")
}

// TestStandaloneBacking refuses images that need other files, whether these exist
// or not.
func TestStandaloneBacking(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, strings.Repeat("raw", 1000), dir, "base.raw")
	for _, args := range []string{
		"-f qcow2 alone.qcow2 5M",
		"-f qcow2 -b base.raw -F raw layer.qcow2",
		"-f qcow2 -u -b nowhere.raw -F raw orphan.qcow2 5M",
		"-f qcow2 -o data_file=data.raw external.qcow2 5M",
	} {
		qemuimg.Must(t, dir, append([]string{"create", "-q"}, strings.Fields(args)...)...)
	}
	for _, args := range []string{"-b base.raw -F raw", "-b alone.qcow2 -F qcow2", "-b alone.qcow2 --detect-backing-format"} {
		mustRun(t, dir, append([]string{"create", "-q", "--standalone-backing", "t.qcow2"}, strings.Fields(args)...)...)
	}
	for base, parts := range map[string][]string{
		"layer.qcow2":    {"layer.qcow2", `it has a backing file itself, "base.raw"`, "use an image without one"},
		"orphan.qcow2":   {"orphan.qcow2", `it has a backing file itself, "nowhere.raw"`},
		"external.qcow2": {"external.qcow2", `its data is in another file, "data.raw"`, "use an image without an external data file"},
		"nowhere.qcow2":  {"nowhere.qcow2", "no such file"},
	} {
		mustRefuse(t, dir, parts, "create", "--standalone-backing", "-b", base, "-F", "qcow2", "x")
	}
	mustRefuse(t, dir, []string{"--standalone-backing", "needs a backing file"}, "create", "--standalone-backing", "x", "1M")
}

func TestInfoOutput(t *testing.T) {
	dir := t.TempDir()
	for args, want := range map[string]string{
		"t.qcow2 1M":   `{"virtual-size":1048576,"format":"qcow2","cluster-size":65536}`,
		"t.qcow2 1000": `{"virtual-size":1024,"format":"qcow2","cluster-size":65536}`,
		"t.qcow2 0":    `{"virtual-size":0,"format":"qcow2","cluster-size":65536}`,
		"t.qcow2 20G -o cluster_size=128k,extended_l2=on": `{"virtual-size":21474836480,"format":"qcow2","cluster-size":131072}`,
	} {
		mustRun(t, dir, append([]string{"create", "-q", "--info-output=t.json"}, strings.Fields(args)...)...)
		if got := readFile(t, dir, "t.json"); got != want+"\n" {
			t.Errorf("%s: info output is %q, want %q", args, got, want)
		}
	}
	// --backing-info reads this file.
	mustRun(t, dir, "create", "-q", "-b", "t.qcow2", "--backing-info=t.json", "--info-output=x.json", "x.qcow2")
	qemuimg.Must(t, dir, "check", "-q", "x.qcow2")

	os.Remove(filepath.Join(dir, "x.qcow2"))
	for _, same := range []string{"x.qcow2", "./x.qcow2", dir + "/x.qcow2"} {
		mustRefuse(t, dir, []string{"two output files"}, "create", "--info-output="+same, "x.qcow2", "1M")
	}
	mustRefuse(t, dir, []string{"two output files"}, "create", "--info-output=d", "-o", "data_file=d", "x.qcow2", "1M")
	mustRefuse(t, dir, []string{"t.qcow2 would be overwritten"}, "create", "--info-output=t.qcow2", "-b", "t.qcow2", "-F", "qcow2", "x.qcow2", "1M")
	mustRefuse(t, dir, []string{"t.json would be overwritten"}, "create", "--info-output=t.json", "-b", "t.qcow2", "--backing-info=t.json", "x.qcow2", "1M")
	mustRefuse(t, dir, []string{"--info-output no/t.json: no such file"}, "create", "--info-output=no/t.json", "x.qcow2", "1M")
	// If the image is refused, its description is not written.
	mustRefuse(t, dir, []string{"cluster size"}, "create", "--info-output=new.json", "-o", "cluster_size=3", "x.qcow2", "1M")
}

// TestMessages checks whole messages: the input, what is wrong with it, and what
// to do.
func TestMessages(t *testing.T) {
	dir := t.TempDir()
	for args, want := range map[string]string{
		"":                                 "command is missing; use check, commit, compare, convert, create, info, layer, map or rebase (see qcow2gen --help)",
		"amend x":                          `command "amend" is not supported; use check, commit, compare, convert, create, info, layer, map or rebase (see qcow2gen --help)`,
		"convert -O vmdk x y":              `y: target format "vmdk" is not supported; use -O raw or -O qcow2`,
		"rebase x":                         "rebase: a backing file (-b) is needed, or -u to record none (see qcow2gen rebase --help)",
		"commit x":                         "x: no such file or directory",
		"create":                           "create: the image file name is missing (see qcow2gen create --help)",
		"create --size=3 x":                "create: unrecognized option '--size' (see qcow2gen create --help)",
		"create -f raw x 1M":               `create: format "raw" is not supported; use qcow2`,
		"create x":                         "x: size is missing; give a size or a backing file that can be opened",
		"create x 20GiB":                   `x: size is "20GiB": it is not a size; use a number of bytes, or one with the suffix k, M, G, T, P or E for powers of 1024`,
		"create -o foo=1 x 1M":             `x: unknown option "foo" (see qcow2gen create -o help)`,
		"create -o preallocation=full x 1": `x: option preallocation is "full", which is not supported; use off or metadata`,
		"create -o cluster_size=3k x 1M":   "x: cluster size is 3072 bytes, must be a power of two from 512 to 2097152",
		"create -b b x 1M":                 "x: backing file b needs a format; name it with -F (--backing-format): raw, qcow2, …",
		"create -b b -F raw x":             "x: backing file cannot be used: b: no such file or directory",
		"create no/x 1M":                   "no/x: no such file or directory",
		"create a:x 1M":                    `a:x: QEMU would read it as protocol "a", but only files are supported; put ./ in front to name a file`,
	} {
		if got := run(t, dir, strings.Fields(args)...).Stderr; got != "qcow2gen: "+want+"\n" {
			t.Errorf("qcow2gen %s says %q, want %q", args, got, want)
		}
	}
	checkRefused(t, run(t, dir, "create", "a\nb", "x"), `a\nb: size is`)
}
