package qcow2_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// TestGenerateFormatAndSizeOfBackingFile gives neither to Generate, and
// compares the recorded values with the output of qemu-img info for the backing
// file.
func TestGenerateFormatAndSizeOfBackingFile(t *testing.T) {
	for name, makeBase := range map[string]func(t *testing.T, dir string){
		"raw":        func(t *testing.T, dir string) { qemuimg.Must(t, dir, "create", "-q", "-f", "raw", "base", "10M") },
		"raw, empty": func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "base"), nil) },
		"raw, 1 byte": func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, "base"), []byte{1})
		},
		"raw, no whole sectors": func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, "base"), make([]byte, 3*512+511))
		},
		"qcow2": func(t *testing.T, dir string) { qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "base", "10G") },
		"qcow2, version 2": func(t *testing.T, dir string) {
			qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "-o", "compat=0.10", "base", "1G")
		},
		"qcow2, size 0": func(t *testing.T, dir string) { qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "base", "0") },
		"qcow2 with data": func(t *testing.T, dir string) {
			qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "-o", "preallocation=full,extended_l2=on", "base", "3M")
		},
		"qcow2 on a missing file": func(t *testing.T, dir string) {
			qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "-u", "-b", "missing", "-F", "raw", "base", "7M")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			makeBase(t, dir)
			want := qemuJSON(t, qemuimg.Must(t, dir, "info", "--output=json", "base"))
			mustGenerate(t, filepath.Join(dir, "overlay"), qcow2.GenerateWithBackingFile("base"))
			got := qemuJSON(t, qemuimg.Must(t, dir, "info", "-f", "qcow2", "--output=json", "overlay"))
			if got["virtual-size"] != want["virtual-size"] || got["backing-filename-format"] != want["format"] {
				t.Errorf("overlay has %v bytes and records %v, backing file has %v bytes and is %v",
					got["virtual-size"], got["backing-filename-format"], want["virtual-size"], want["format"])
			}
		})
	}
}

// TestGenerateReadsBackingFile reads data through the overlay, where the
// backing file is shorter than its last sector and than the overlay.
func TestGenerateReadsBackingFile(t *testing.T) {
	dir := t.TempDir()
	writePattern(t, filepath.Join(dir, "base"), 3*512+511)
	mustGenerate(t, filepath.Join(dir, "overlay"), qcow2.GenerateWithBackingFile("base"))
	mustGenerate(t, filepath.Join(dir, "longer"), qcow2.GenerateWithBackingFile("base"), qcow2.GenerateWithFileSize(1<<20))
	for _, name := range []string{"overlay", "longer"} {
		qemuimg.Must(t, dir, "compare", "-f", "raw", "-F", "qcow2", "base", name)
	}
}

// TestGenerateBackingFileNames stores names that need care, and lets qemu-img
// resolve them.
func TestGenerateBackingFileNames(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "images", "deep"), 0o777); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("./", 500) + "a name of 1023 bytes...."
	long = long[:1022] + "x"
	for n, name := range []string{
		"base", "./a:b", "-f", "a b", "./json:{}", "näme", "a\nb", "../base", "deep/base", "sub.d/../base", "'\"$(x)`", long,
		filepath.Join(dir, "absolute"),
	} {
		t.Run(fmt.Sprintf("%d bytes, %.20q", len(name), name), func(t *testing.T) {
			overlay := filepath.Join(dir, "images", fmt.Sprintf("overlay%d", n))
			base := qcow2.ResolveBackingFile(overlay, name)
			os.MkdirAll(filepath.Dir(overlay)+"/sub.d", 0o777)
			size := 4096 * (n + 1)
			writePattern(t, base, size)
			mustGenerate(t, overlay, qcow2.GenerateWithBackingFile(name))
			got := qemuJSON(t, qemuimg.Must(t, "", "info", "-f", "qcow2", "--output=json", overlay))
			if got["backing-filename"] != name {
				t.Errorf("stored name is %q, want %q", got["backing-filename"], name)
			}
			qemuimg.Must(t, dir, "compare", "-f", "raw", "-F", "qcow2", base, overlay)
		})
	}
}

// TestGenerateCutOffBackingFile cuts a qcow2 backing file off wherever a
// structure ends or begins. Generate may accept it only if qemu-img does, and
// with the same size. It may refuse a file whose missing part qemu-img reads as
// zeros.
func TestGenerateCutOffBackingFile(t *testing.T) {
	for _, version := range []string{"0.10", "1.1"} {
		dir := t.TempDir()
		qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "-u", "-b", "lower", "-F", "raw", "-o", "compat="+version, "whole", "1G")
		whole := readFile(t, dir, "whole")
		for _, length := range []int{0, 1, 3, 4, 7, 8, 9, 20, 31, 32, 71, 72, 73, 80, 90, 96, 100, 103, 104, 105, 111, 112, 113, 120, 128, 200, 527, 528, 530, 532, 533,
			1024, 65535, 65536, 65544, 131071, 131072, 131080, 196608, 196609, len(whole) - 1, len(whole)} {
			t.Run(fmt.Sprintf("%s/%d", version, length), func(t *testing.T) {
				t.Parallel()
				base := filepath.Join(dir, fmt.Sprint(length))
				writeFile(t, base, whole[:length])
				var b bytes.Buffer
				err := qcow2.Generate(&b, qcow2.GenerateWithBackingFile(base), qcow2.GenerateWithBackingFormat("qcow2"))
				result := qemuimg.Run(t, dir, "info", "-f", "qcow2", "--output=json", base)
				if err != nil {
					checkSentence(t, err, base)
				}
				if err == nil && result.Code != 0 {
					t.Fatalf("Generate accepts what qemu-img refuses: %s", result.Stderr)
				}
				if err != nil && length == len(whole) {
					t.Fatal(err)
				}
				if err == nil && b.Len() != len(whole) {
					t.Errorf("overlay is %d bytes long, want %d as the backing file, which has the same size", b.Len(), len(whole))
				}
			})
		}
	}
}
