package qcow2_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// These tests are about images in which the clusters may be in another order
// than qemu-img's. Info, check and contents must agree.

func TestGeneratePreallocatedMetadata(t *testing.T) {
	for _, i := range []image{
		{size: 1000, clusterSize: 65536},
		{size: 5<<20 + 512, clusterSize: 512},
		{size: 100 << 20, clusterSize: 4096, refcountBits: 64},
		{size: 20 << 20, clusterSize: 1024, refcountBits: 1},
		{size: 100 << 20, clusterSize: 2 << 20},
		{size: 1 << 30, clusterSize: 65536, version: 2},
		{size: 3 << 30, clusterSize: 65536, extendedL2: true},
		{size: 3 << 30, clusterSize: 16384, extendedL2: true, refcountBits: 8},
		{backing: "raw", clusterSize: 65536, extendedL2: true},
		{backing: "qcow2", clusterSize: 131072, extendedL2: true, lazyRefcounts: true},
	} {
		i.preallocation = qcow2.PreallocationMetadata
		agreeWithQemuImg(t, i)
	}
}

// TestGeneratePreallocatedEveryLength makes files of all lengths around the
// last cluster that a refcount block counts.
func TestGeneratePreallocatedEveryLength(t *testing.T) {
	const perBlock = 512 * 8 / 64
	for clusters := uint64(2 * perBlock); clusters <= 3*perBlock+2; clusters++ {
		t.Run(fmt.Sprint(clusters), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "image")
			mustGenerate(t, path, qcow2.GenerateWithFileSize(clusters*512), qcow2.GenerateWithClusterSize(512), qcow2.GenerateWithRefcountBits(64),
				qcow2.GenerateWithPreallocation(qcow2.PreallocationMetadata))
			qemuimg.Must(t, "", "check", "-q", "-f", "qcow2", path)
		})
	}
}

func TestGenerateExternalDataFile(t *testing.T) {
	for _, i := range []image{
		{size: 64 << 20, clusterSize: 65536},
		{size: 64 << 20, clusterSize: 65536, preallocation: qcow2.PreallocationMetadata},
		{size: 64 << 20, clusterSize: 65536, dataFileRaw: true},
		{size: 5<<20 + 512, clusterSize: 512, dataFileRaw: true},
		{size: 64 << 20, clusterSize: 65536, extendedL2: true},
		{size: 64 << 20, clusterSize: 65536, extendedL2: true, dataFileRaw: true},
		{size: 3 << 30, clusterSize: 65536, backing: "qcow2"},
		{size: 3 << 30, clusterSize: 65536, backing: "qcow2", extendedL2: true},
	} {
		i.dataFile = "data"
		agreeWithQemuImg(t, i)
	}
}

// TestGenerateRefcountTableOfSeveralClusters makes images whose L1 table needs
// more refcount blocks than a refcount table of one cluster has entries.
func TestGenerateRefcountTableOfSeveralClusters(t *testing.T) {
	for _, i := range []image{
		{size: 33 << 30, clusterSize: 512},
		{size: 9 << 30, clusterSize: 512, refcountBits: 64},
	} {
		agreeWithQemuImg(t, i)
	}
}

// agreeWithQemuImg makes the image i with Generate and with qemu-img create,
// and compares the output of qemu-img for both. The check comes after a write:
// a write damages the image if a cluster in use is not counted.
func agreeWithQemuImg(t *testing.T, i image) {
	if i.version == 0 {
		i.version = 3
	}
	if i.refcountBits == 0 {
		i.refcountBits = 16
	}
	if i.compression == "" {
		i.compression = qcow2.CompressionZlib
	}
	if i.preallocation == "" {
		i.preallocation = qcow2.PreallocationOff
	}
	t.Run(i.String(), func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		bases(t, dir)
		theirImage := i
		if i.dataFile != "" {
			theirImage.dataFile = "their-data" // of one length with ours
		}
		qemuimg.Must(t, dir, theirImage.createArguments("theirs")...)
		theirs := qemuInfo(t, dir, "theirs")
		n, err := theirs["virtual-size"].(json.Number).Int64()
		if err != nil {
			t.Fatal(err)
		}
		if i.dataFile != "" {
			writeFile(t, filepath.Join(dir, i.dataFile), nil)
			if err := os.Truncate(filepath.Join(dir, i.dataFile), n); err != nil {
				t.Fatal(err)
			}
		}
		mustGenerate(t, filepath.Join(dir, "ours"), i.options()...)
		if ours := qemuInfo(t, dir, "ours"); !reflect.DeepEqual(ours, theirs) {
			t.Errorf("qemu-img info differs\nours:   %v\ntheirs: %v", ours, theirs)
		}

		writePattern(t, filepath.Join(dir, "pattern"), int(min(1<<20, n)))
		qemuimg.Must(t, dir, "convert", "-n", "-f", "raw", "-O", "qcow2", "pattern", "ours")
		qemuimg.Must(t, dir, "convert", "-n", "-f", "raw", "-O", "qcow2", "pattern", "theirs")
		if ours, theirs := qemuCheck(t, dir, "ours"), qemuCheck(t, dir, "theirs"); !reflect.DeepEqual(ours, theirs) {
			t.Errorf("qemu-img check differs\nours:   %v\ntheirs: %v", ours, theirs)
		}
		// Only the first bytes: with small clusters, qemu-img reads every
		// possible L2 table.
		const first = "driver=raw,size=%d,file.driver=qcow2,file.file.filename=%s"
		size := min(8<<20, n) / 512 * 512
		if result := qemuimg.Run(t, dir, "compare", "--image-opts", fmt.Sprintf(first, size, "ours"), fmt.Sprintf(first, size, "theirs")); result.Code != 0 {
			t.Errorf("contents differ: %s%s", result.Stdout, result.Stderr)
		}
	})
}

// qemuInfo returns the output of qemu-img info for a file, without the file's
// name and location.
func qemuInfo(t *testing.T, dir, name string) map[string]any {
	t.Helper()
	info := qemuJSON(t, qemuimg.Must(t, dir, "info", "-f", "qcow2", "--output=json", name))
	maps.DeleteFunc(info, func(key string, _ any) bool {
		return key == "filename" || key == "actual-size" || key == "children" || key == "full-backing-filename"
	})
	if specific, ok := info["format-specific"].(map[string]any); ok {
		delete(specific["data"].(map[string]any), "data-file")
	}
	return info
}

// qemuCheck returns the output of qemu-img check for a file, without its name
// and without offsets in the file.
func qemuCheck(t *testing.T, dir, name string) map[string]any {
	t.Helper()
	check := qemuJSON(t, qemuimg.Must(t, dir, "check", "-f", "qcow2", "--output=json", name))
	for _, key := range []string{"filename", "image-end-offset", "fragmented-clusters"} {
		delete(check, key)
	}
	return check
}

func qemuJSON(t *testing.T, s string) map[string]any {
	t.Helper()
	var m map[string]any
	qemuUnmarshal(t, s, &m)
	return m
}

func qemuUnmarshal(t *testing.T, s string, v any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		t.Fatalf("qemu-img writes no JSON: %v: %s", err, s)
	}
}

// writePattern makes a file whose contents do not repeat and have no zeros that
// qemu-img would leave out.
func writePattern(t *testing.T, path string, size int) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(1 + r.IntN(255))
	}
	writeFile(t, path, b)
}
