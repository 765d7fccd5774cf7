package qcow2_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// TestCreateLayer lets qemu-img describe layers on raw and qcow2 images, and
// qemu-io write to them.
func TestCreateLayer(t *testing.T) {
	for _, test := range []struct {
		name   string
		base   func(t *testing.T, dir string)
		format string // as given
		opts   options

		wantFormat      string
		wantSize        int64
		wantClusterSize int64
		wantExtendedL2  bool
	}{
		{
			name:       "raw",
			base:       func(t *testing.T, dir string) { writePattern(t, filepath.Join(dir, "base"), 1<<20) },
			wantFormat: "raw", wantSize: 1 << 20, wantClusterSize: 128 << 10, wantExtendedL2: true,
		},
		{
			name:       "raw with a part of a sector at the end",
			base:       func(t *testing.T, dir string) { writePattern(t, filepath.Join(dir, "base"), 1<<20+1) },
			format:     "raw",
			wantFormat: "raw", wantSize: 1<<20 + 512, wantClusterSize: 128 << 10, wantExtendedL2: true,
		},
		{
			name:       "qcow2 that is given as raw",
			base:       func(t *testing.T, dir string) { mustGenerate(t, filepath.Join(dir, "base"), size1M) },
			format:     "raw",
			wantFormat: "raw", wantSize: 3*65536 + 512, wantClusterSize: 128 << 10, wantExtendedL2: true,
		},
		{
			name: "qcow2 on raw",
			base: func(t *testing.T, dir string) {
				writePattern(t, filepath.Join(dir, "lowest"), 1<<20)
				mustGenerate(t, filepath.Join(dir, "base"), qcow2.GenerateWithBackingFile("lowest"), qcow2.GenerateWithFileSize(3<<30))
			},
			wantFormat: "qcow2", wantSize: 3 << 30, wantClusterSize: 128 << 10, wantExtendedL2: true,
		},
		{
			name:       "larger than the backing file",
			base:       func(t *testing.T, dir string) { writePattern(t, filepath.Join(dir, "base"), 1<<20) },
			opts:       options{qcow2.GenerateWithFileSize(40 << 30)},
			wantFormat: "raw", wantSize: 40 << 30, wantClusterSize: 128 << 10, wantExtendedL2: true,
		},
		{
			name:       "larger than an empty backing file",
			base:       func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "base"), nil) },
			opts:       options{qcow2.GenerateWithFileSize(1 << 20)},
			wantFormat: "raw", wantSize: 1 << 20, wantClusterSize: 128 << 10, wantExtendedL2: true,
		},
		{
			name:       "other clusters",
			base:       func(t *testing.T, dir string) { writePattern(t, filepath.Join(dir, "base"), 1<<20) },
			opts:       options{qcow2.GenerateWithClusterSize(4096), qcow2.GenerateWithExtendedL2(false)},
			wantFormat: "raw", wantSize: 1 << 20, wantClusterSize: 4096,
		},
		{
			name: "vmdk with a size",
			base: func(t *testing.T, dir string) {
				qemuimg.Must(t, dir, "create", "-q", "-f", "vmdk", "base", "1M")
			},
			opts:       options{qcow2.GenerateWithFileSize(1 << 20)},
			wantFormat: "vmdk", wantSize: 1 << 20, wantClusterSize: 128 << 10, wantExtendedL2: true,
		},
		{
			name: "qcow2 on vmdk",
			base: func(t *testing.T, dir string) {
				qemuimg.Must(t, dir, "create", "-q", "-f", "vmdk", "lowest", "1M")
				qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "-b", "lowest", "-F", "vmdk", "base")
			},
			wantFormat: "qcow2", wantSize: 1 << 20, wantClusterSize: 128 << 10, wantExtendedL2: true,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			test.base(t, dir)
			// Both paths are relative, from a directory that is not the layer's.
			t.Chdir(dir)
			if err := os.Mkdir("layers", 0o777); err != nil {
				t.Fatal(err)
			}
			layer := filepath.Join("layers", "layer.qcow2")
			if err := qcow2.CreateLayer(layer, "base", test.format, test.opts...); err != nil {
				t.Fatal(err)
			}
			info := qemuJSON(t, qemuimg.Must(t, "", "info", "-f", "qcow2", "--output=json", layer))
			specific := info["format-specific"].(map[string]any)["data"].(map[string]any)
			if info["backing-filename"] != filepath.Join(dir, "base") || info["backing-filename-format"] != test.wantFormat {
				t.Errorf("backing file is %v of format %v, want %s of format %s",
					info["backing-filename"], info["backing-filename-format"], filepath.Join(dir, "base"), test.wantFormat)
			}
			got := fmt.Sprintf("%v bytes, clusters of %v bytes, extended L2 %v", info["virtual-size"], info["cluster-size"], specific["extended-l2"])
			want := fmt.Sprintf("%d bytes, clusters of %d bytes, extended L2 %t", test.wantSize, test.wantClusterSize, test.wantExtendedL2)
			if got != want {
				t.Errorf("layer has %s, want %s", got, want)
			}
			if r := qemuimg.IO(t, "", layer, "write -P 87 0 512", "read -P 87 0 512"); r.Code != 0 {
				t.Errorf("qemu-io cannot write to the layer: %s%s", r.Stdout, r.Stderr)
			}
			qemuimg.Must(t, "", "check", layer)
		})
	}
}

// TestCreateLayerReadsAsBackingFile compares a layer with its backing file.
func TestCreateLayerReadsAsBackingFile(t *testing.T) {
	dir := t.TempDir()
	writePattern(t, filepath.Join(dir, "base"), 1<<20)
	if err := qcow2.CreateLayer(filepath.Join(dir, "layer"), filepath.Join(dir, "base"), ""); err != nil {
		t.Fatal(err)
	}
	qemuimg.Must(t, dir, "compare", "-s", "-f", "raw", "-F", "qcow2", "base", "layer")
}

// TestCreateLayerRefuses checks that each refusal names both files and leaves
// none behind.
func TestCreateLayerRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		base   func(t *testing.T, path string)
		format string
		opts   options
		words  []string
	}{
		{"missing", func(t *testing.T, path string) {}, "", nil, []string{"no such file"}},
		{"directory", func(t *testing.T, path string) { os.Mkdir(path, 0o777) }, "", nil, []string{"directory"}},
		{"empty", func(t *testing.T, path string) { writeFile(t, path, nil) }, "", nil, []string{"virtual size is 0", "512"}},
		{"qcow2 of size 0", func(t *testing.T, path string) { mustGenerate(t, path, qcow2.GenerateWithFileSize(0)) }, "", nil, []string{"virtual size is 0"}},
		{"size 0 given", func(t *testing.T, path string) { writePattern(t, path, 512) }, "", options{qcow2.GenerateWithFileSize(0)}, []string{"virtual size is 0"}},
		{"wrong format", func(t *testing.T, path string) { writePattern(t, path, 512) }, "qcow2", nil, []string{"qcow2 image"}},
		{"no format", func(t *testing.T, path string) { writePattern(t, path, 512) }, "Raw image", options{size1M}, []string{`"Raw image"`}},
		{"vmdk without a size", func(t *testing.T, path string) { writePattern(t, path, 512) }, "vmdk", nil, []string{"vmdk", "virtual size"}},
		{"missing below", func(t *testing.T, path string) { overlay(t, filepath.Dir(path), "base", "lowest") }, "", nil, []string{"lowest", "no such file"}},
		{"loop", func(t *testing.T, path string) { overlay(t, filepath.Dir(path), "base", "base") }, "", nil, []string{"loops"}},
		{"backing file as an option", func(t *testing.T, path string) { writePattern(t, path, 512) }, "", options{qcow2.GenerateWithBackingFile("other")}, []string{"argument"}},
		{"backing format as an option", func(t *testing.T, path string) { writePattern(t, path, 512) }, "", options{qcow2.GenerateWithBackingFormat("raw")}, []string{"argument"}},
		{"option twice", func(t *testing.T, path string) { writePattern(t, path, 512) }, "", options{size1M, size1M}, []string{"twice"}},
		{"too large", func(t *testing.T, path string) { writePattern(t, path, 512) }, "", options{qcow2.GenerateWithFileSize(1 << 62)}, []string{"4611686018427387904"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			base, layer := filepath.Join(dir, "base"), filepath.Join(dir, "layer")
			test.base(t, base)
			err := qcow2.CreateLayer(layer, base, test.format, test.opts...)
			checkSentence(t, err, append(test.words, base, layer)...)
			if strings.Count(err.Error(), base) > 2 {
				t.Errorf("error names the backing file more than twice: %v", err)
			}
			if _, err := os.Lstat(layer); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a file is left: %v", err)
			}
		})
	}
	t.Run("no name", func(t *testing.T) {
		checkSentence(t, qcow2.CreateLayer(filepath.Join(t.TempDir(), "layer"), "", ""), "name is empty")
	})
}

// TestCreateLayerKeepsWhatExists checks that CreateLayer replaces no file, not
// even through a symbolic link.
func TestCreateLayerKeepsWhatExists(t *testing.T) {
	dir := t.TempDir()
	base := filepath.Join(dir, "base")
	writeFile(t, base, make([]byte, 512))
	if err := os.Symlink("nowhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"base", "link"} {
		err := qcow2.CreateLayer(filepath.Join(dir, name), base, "")
		checkSentence(t, err, filepath.Join(dir, name), "exists")
		if !errors.Is(err, fs.ErrExist) {
			t.Errorf("error is not fs.ErrExist: %v", err)
		}
	}
	if got := readFile(t, base); string(got) != strings.Repeat("\x00", 512) {
		t.Error("the backing file has changed")
	}
	if _, err := os.Lstat(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a file was made behind the link")
	}
}
