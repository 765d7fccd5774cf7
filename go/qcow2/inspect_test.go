package qcow2_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// headerFields are the fields of the header in the order of the file.
var headerFields = []struct {
	name   string
	offset int
	bytes  int
	values []uint64 // in addition to those that every field gets
}{
	{"magic", 0, 4, nil},
	{"version", 4, 4, []uint64{3, 4}},
	{"backing_file_offset", 8, 8, []uint64{71, 72, 104, 111, 112, 65535, 65536, 65537}},
	{"backing_file_size", 16, 4, []uint64{1022, 1023, 1024}},
	{"cluster_bits", 20, 4, []uint64{8, 9, 12, 13, 14, 15, 17, 21, 22}},
	{"size", 24, 8, []uint64{511, 513, 1 << 29, 1<<29 + 1, 1 << 50}},
	{"crypt_method", 32, 4, []uint64{3}},
	{"l1_size", 36, 4, []uint64{3, 4194304, 4194305}},
	{"l1_table_offset", 40, 8, []uint64{512, 65536, 65537, 1 << 40, 1<<63 - 65536}},
	{"refcount_table_offset", 48, 8, []uint64{512, 65536, 65537, 1 << 40, 1<<63 - 65536}},
	{"refcount_table_clusters", 56, 4, []uint64{127, 128, 129}},
	{"nb_snapshots", 60, 4, []uint64{2, 65537}},
	{"snapshots_offset", 64, 8, []uint64{65536, 65537}},
	{"incompatible_features", 72, 8, []uint64{4, 8, 16, 32, 64}},
	{"compatible_features", 80, 8, nil},
	{"autoclear_features", 88, 8, nil},
	{"refcount_order", 96, 4, []uint64{3, 4, 5, 6, 7}},
	{"header_length", 100, 4, []uint64{72, 103, 104, 105, 108, 111, 112, 113, 120, 512, 65528, 65536, 65537}},
	{"compression_type", 104, 1, nil},
	{"extension type", 112, 4, []uint64{0xe2792aca, 0x6803f857, 0x44415441, 0x23852875, 0x0537be77}},
	{"extension length", 116, 4, []uint64{3, 4, 5, 15, 16, 17, 400, 416, 65535}},
}

// TestInspectMutatedHeader sets each field of the header to values at its
// limits and beyond. Inspect has to accept and to refuse what qemu-img info
// does, and to tell the same.
func TestInspectMutatedHeader(t *testing.T) {
	for _, version := range []string{"0.10", "1.1"} {
		dir := t.TempDir()
		qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "-u", "-b", "lower", "-F", "raw", "-o", "compat="+version, "image", "1G")
		whole := readFile(t, dir, "image")
		for _, field := range headerFields {
			if version == "0.10" && field.offset >= 72 {
				continue
			}
			width := 8 * field.bytes
			values := append([]uint64{0, 1, 1<<width - 1}, field.values...)
			if long() {
				values = append(values, 2, 1<<(width-1)-1, 1<<(width-1))
			}
			if version == "0.10" && !long() {
				values = values[3:]
			}
			for _, value := range values {
				t.Run(fmt.Sprintf("%s/%s=%#x", version, field.name, value), func(t *testing.T) {
					t.Parallel()
					image := bytes.Clone(whole)
					var b [8]byte
					binary.BigEndian.PutUint64(b[:], value<<(64-width))
					copy(image[field.offset:], b[:field.bytes])
					compareInspect(t, dir, image)
				})
			}
		}
	}
}

// compareInspect compares Inspect with qemu-img info.
func compareInspect(t *testing.T, dir string, image []byte) {
	t.Helper()
	name := filepath.Base(t.TempDir()) + filepath.Base(t.Name())
	writeFile(t, filepath.Join(dir, name), image)
	result := qemuimg.Run(t, dir, "info", "-f", "qcow2", "--output=json", name)
	got, err := qcow2.Inspect(bytes.NewReader(image), int64(len(image)))
	switch {
	case err != nil && result.Code != 0:
		return
	case err != nil:
		t.Fatalf("Inspect: %v, but qemu-img info says %s", err, result.Stdout)
	case result.Code != 0:
		t.Fatalf("Inspect accepts what qemu-img info refuses: %s", result.Stderr)
	}
	info := qemuJSON(t, result.Stdout)
	specific := info["format-specific"].(map[string]any)["data"].(map[string]any)
	for _, answer := range []struct {
		name       string
		ours, qemu any
	}{
		{"virtual-size", json.Number(fmt.Sprint(got.Header.Size / 512 * 512)), info["virtual-size"]},
		{"cluster-size", json.Number(fmt.Sprint(got.ClusterSize())), info["cluster-size"]},
		{"backing-filename", strings.ToValidUTF8(got.BackingFile, "\ufffd"), stringOr(info["backing-filename"])},
		{"compat", got.Compat(), specific["compat"]},
		{"refcount-bits", json.Number(fmt.Sprint(got.RefcountBits())), specific["refcount-bits"]},
		{"corrupt", got.Corrupt(), boolOr(specific["corrupt"])},
		{"lazy-refcounts", got.LazyRefcounts(), boolOr(specific["lazy-refcounts"])},
		{"extended-l2", got.ExtendedL2(), boolOr(specific["extended-l2"])},
		{"compression-type", string(got.CompressionType()), specific["compression-type"]},
		{"data-file-raw", got.DataFileRaw(), boolOr(specific["data-file-raw"])},
	} {
		if answer.ours != answer.qemu {
			t.Errorf("%s is %v, qemu-img says %v", answer.name, answer.ours, answer.qemu)
		}
	}
}

// stringOr and boolOr return the zero value for a key that is left out.
func stringOr(v any) string { s, _ := v.(string); return s }
func boolOr(v any) bool     { b, _ := v.(bool); return b }
