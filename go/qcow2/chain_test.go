package qcow2_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// TestInspectChain compares with qemu-img info --backing-chain, over layers in
// several directories, of several formats and sizes.
func TestInspectChain(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"a", "a/b", "c"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(dir, "c", "base.raw"), make([]byte, 1000))
	qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "-b", "../../c/base.raw", "-F", "raw", "a/b/lower", "10M")
	mustGenerate(t, filepath.Join(dir, "a", "middle"), qcow2.GenerateWithBackingFile("b/lower"))
	mustGenerate(t, filepath.Join(dir, "top"), qcow2.GenerateWithBackingFile(filepath.Join(dir, "a", "middle")), qcow2.GenerateWithFileSize(1<<30))

	var want []struct {
		Filename    string
		Format      string
		VirtualSize uint64 `json:"virtual-size"`
	}
	qemuUnmarshal(t, qemuimg.Must(t, dir, "info", "--output=json", "--backing-chain", "./top"), &want)
	t.Chdir(dir)
	layers, err := qcow2.InspectChain("./top", "")
	if err != nil {
		t.Fatal(err)
	}
	if len(layers) != len(want) || len(layers) != 4 {
		t.Fatalf("%d layers, want %d", len(layers), len(want))
	}
	for i, layer := range layers {
		if layer.Path != want[i].Filename || layer.Format != want[i].Format || layer.VirtualSize != want[i].VirtualSize || (layer.Image == nil) != (layer.Format == "raw") {
			t.Errorf("layer %d is %s, %s, %d bytes; qemu-img says %+v", i, layer.Path, layer.Format, layer.VirtualSize, want[i])
		}
	}
}

// overlay makes dir/name, which names backing without opening it.
func overlay(t *testing.T, dir, name, backing string) {
	t.Helper()
	mustGenerate(t, filepath.Join(dir, name), size1M, qcow2.GenerateWithBackingFile(backing), qcow2.GenerateWithBackingFormat("qcow2"))
}

// TestInspectChainRefuses has chains that QEMU does not open, or that never
// end.
func TestInspectChainRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(t *testing.T, dir string)
		words   []string
	}{
		"missing":     {func(t *testing.T, dir string) { overlay(t, dir, "top", "missing") }, []string{"missing", "no such file"}},
		"directory":   {func(t *testing.T, dir string) { overlay(t, dir, "top", ".") }, []string{"directory"}},
		"loop of one": {func(t *testing.T, dir string) { overlay(t, dir, "top", "top") }, []string{"loops"}},
		"loop by a link": {func(t *testing.T, dir string) {
			overlay(t, dir, "top", "link")
			os.Symlink("top", filepath.Join(dir, "link"))
		}, []string{"link", "loops"}},
		"loop of three": {func(t *testing.T, dir string) {
			overlay(t, dir, "top", "second")
			overlay(t, dir, "second", "./third")
			overlay(t, dir, "third", dir+"/top")
		}, []string{"loops", "/top"}},
		"too long": {func(t *testing.T, dir string) {
			overlay(t, dir, "top", "0")
			for i := range 1001 {
				overlay(t, dir, fmt.Sprint(i), fmt.Sprint(i+1))
			}
		}, []string{"longer", "1000"}},
		"other format": {func(t *testing.T, dir string) {
			mustGenerate(t, filepath.Join(dir, "top"), size1M, qcow2.GenerateWithBackingFile("disk"), qcow2.GenerateWithBackingFormat("vmdk"))
			writeFile(t, filepath.Join(dir, "disk"), make([]byte, 512))
		}, []string{"disk", `"vmdk"`, "raw", "qcow2"}},
		"wrong format": {func(t *testing.T, dir string) {
			overlay(t, dir, "top", "disk")
			writeFile(t, filepath.Join(dir, "disk"), make([]byte, 512))
		}, []string{"disk", "not a qcow2 image"}},
		"protocol": {func(t *testing.T, dir string) {
			overlay(t, dir, "top", "./nbd:host")
			patch(t, filepath.Join(dir, "top"), []byte("./nbd:host"), []byte("nbd:./host"))
		}, []string{`"nbd:./host"`, `"nbd"`, "/top"}},
		"cut off": {func(t *testing.T, dir string) {
			overlay(t, dir, "top", "middle")
			overlay(t, dir, "middle", "missing")
			os.Truncate(filepath.Join(dir, "middle"), 70000)
		}, []string{"middle", "cut off"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			test.prepare(t, dir)
			_, err := qcow2.InspectChain(filepath.Join(dir, "top"), "qcow2")
			checkSentence(t, err, append(test.words, dir)...)
		})
	}
}

// patch replaces the only occurrence of old in a file.
func patch(t *testing.T, path string, old, new []byte) {
	t.Helper()
	b := readFile(t, path)
	if bytes.Count(b, old) != 1 {
		t.Fatalf("%q is %d times in %s, want once", old, bytes.Count(b, old), path)
	}
	writeFile(t, path, bytes.Replace(b, old, new, 1))
}
