package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// layerInfo is a part of the output of qemu-img info --output=json.
type layerInfo struct {
	VirtualSize   uint64 `json:"virtual-size"`
	ClusterSize   uint64 `json:"cluster-size"`
	Backing       string `json:"backing-filename"`
	BackingFormat string `json:"backing-filename-format"`
	Specific      struct {
		Data struct {
			ExtendedL2 bool `json:"extended-l2"`
		}
	} `json:"format-specific"`
}

// TestLayer lets qemu-img describe, check and compare layers.
func TestLayer(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o777); err != nil {
		t.Fatal(err)
	}
	writeFile(t, strings.Repeat("base", 1<<15), dir, "base.raw")
	writeFile(t, strings.Repeat("base", 1<<15), dir, "a:b,c")
	qemuimg.Must(t, dir, "convert", "-O", "qcow2", "base.raw", "base.qcow2")
	qemuimg.Must(t, dir, "create", "-q", "-f", "vmdk", "base.vmdk", "1G")
	qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2", "2M")
	for args, want := range map[string]layerInfo{
		"base.raw":                    {VirtualSize: 1 << 17, Backing: "base.raw", BackingFormat: "raw"},
		"base.qcow2":                  {VirtualSize: 1 << 17, Backing: "base.qcow2", BackingFormat: "qcow2"},
		"./sub/../base.raw":           {VirtualSize: 1 << 17, Backing: "base.raw", BackingFormat: "raw"},
		"file:base.raw":               {VirtualSize: 1 << 17, Backing: "base.raw", BackingFormat: "raw"},
		"./a:b,c":                     {VirtualSize: 1 << 17, Backing: "a:b,c", BackingFormat: "raw"},
		dir + "/top.qcow2":            {VirtualSize: 2 << 20, Backing: "top.qcow2", BackingFormat: "qcow2"},
		"-F raw base.raw":             {VirtualSize: 1 << 17, Backing: "base.raw", BackingFormat: "raw"},
		"-Fqcow2 base.qcow2 FILE 40G": {VirtualSize: 40 << 30, Backing: "base.qcow2", BackingFormat: "qcow2"},
		"base.qcow2 FILE 128k":        {VirtualSize: 1 << 17, Backing: "base.qcow2", BackingFormat: "qcow2"},
		"base.qcow2 FILE 131073":      {VirtualSize: 1<<17 + 512, Backing: "base.qcow2", BackingFormat: "qcow2"},

		// Options may come last.
		"base.vmdk FILE 1G --backing-format=vmdk": {VirtualSize: 1 << 30, Backing: "base.vmdk", BackingFormat: "vmdk"},
	} {
		// The layer is in another directory than the working directory.
		const layer = "sub/layer.qcow2"
		if !strings.Contains(args, "FILE") {
			args += " FILE"
		}
		line := append([]string{"layer"}, strings.Fields(strings.Replace(args, "FILE", layer, 1))...)
		printed := mustRun(t, dir, line...)
		if !strings.HasPrefix(printed, "Formatting '"+layer+"', fmt=qcow2 cluster_size=131072 extended_l2=on ") {
			t.Errorf("%q prints %q", line, printed)
		}
		var got layerInfo
		if err := json.Unmarshal([]byte(qemuimg.Must(t, dir, "info", "--output=json", layer)), &got); err != nil {
			t.Fatal(err)
		}
		want.Backing = filepath.Join(dir, want.Backing)
		want.ClusterSize = 131072
		want.Specific.Data.ExtendedL2 = true
		if got != want {
			t.Errorf("%q: qemu-img has %+v, want %+v", line, got, want)
		}
		qemuimg.Must(t, dir, "check", "-q", layer)
		qemuimg.Must(t, dir, "compare", "-q", "-F", want.BackingFormat, layer, want.Backing)
		if err := os.Remove(filepath.Join(dir, layer)); err != nil {
			t.Fatal(err)
		}
	}
	if printed := mustRun(t, dir, "layer", "-q", "base.raw", "quiet.qcow2"); printed != "" {
		t.Errorf("layer -q prints %q", printed)
	}
}

func TestLayerErrors(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, strings.Repeat("base", 1<<15), dir, "base.raw")
	writeFile(t, "", dir, "empty.raw")
	writeFile(t, "another file", dir, "existing")
	mustRun(t, dir, "create", "-q", "-u", "-b", "missing.raw", "-F", "raw", "orphan.qcow2", "1M")
	for args, want := range map[string]string{
		"":                                  "layer: want BACKING_FILE FILE [SIZE], got 0 file names and sizes (see qcow2gen layer --help)",
		"base.raw":                          "layer: want BACKING_FILE FILE [SIZE], got 1 file names and sizes (see qcow2gen layer --help)",
		"base.raw x 1G y":                   "layer: want BACKING_FILE FILE [SIZE], got 4 file names and sizes (see qcow2gen layer --help)",
		"-o cluster_size=4k base.raw x":     "layer: invalid option -- 'o' (see qcow2gen layer --help)",
		"base.raw existing":                 "existing: file exists; layer does not replace files, use another name or remove it",
		"base.raw base.raw":                 "base.raw: file exists; layer does not replace files, use another name or remove it",
		"base.raw x 64k":                    "x: size is 65536 bytes, less than the virtual size of backing file base.raw, which is 131072; use at least that, or omit the size to use exactly that",
		"base.raw x 20GiB":                  `x: size is "20GiB": it is not a size; use a number of bytes, or one with the suffix k, M, G, T, P or E for powers of 1024`,
		"base.raw x 8E":                     `x: size is "8E": it is too large; QEMU supports at most 2^63-1 bytes`,
		"missing.raw x 1G":                  "x: backing file cannot be used: missing.raw: no such file or directory",
		"-F foo base.raw x":                 `x: backing format "foo" is not a format of QEMU; use raw, qcow2, vmdk, …`,
		"nbd://host/disk x":                 `nbd://host/disk: QEMU would read it as protocol "nbd", but only files are supported; put ./ in front to name a file`,
		"base.raw a:x":                      `a:x: QEMU would read it as protocol "a", but only files are supported; put ./ in front to name a file`,
		"missing.raw x":                     "layer x on backing file " + dir + "/missing.raw: ",
		"orphan.qcow2 x":                    "missing.raw",
		"empty.raw x":                       "virtual size is 0",
		"-F vmdk base.raw x":                "vmdk",
		"-F qcow2 base.raw x":               "layer x on backing file " + dir + "/base.raw: ",
		"base.raw missing/x":                "layer missing/x on backing file " + dir + "/base.raw: ",
		"base.raw " + dir + "/base.raw/sub": "not a directory",
	} {
		mustRefuse(t, dir, []string{want}, append([]string{"layer"}, strings.Fields(args)...)...)
	}
}
