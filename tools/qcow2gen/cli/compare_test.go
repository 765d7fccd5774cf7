package cli_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

func TestCompare(t *testing.T) {
	needSameCommandLine(t)
	dir := t.TempDir()
	writeFile(t, strings.Repeat("x", 70000), dir, "a.raw")
	writeFile(t, strings.Repeat("x", 69999)+"y", dir, "b.raw")
	writeFile(t, strings.Repeat("x", 70000)+strings.Repeat("\x00", 9999), dir, "longer.raw")
	for _, args := range []string{"-O qcow2 a.raw a.qcow2", "-c -O qcow2 a.raw c.qcow2", "-c -O qcow2 -o compression_type=zstd a.raw zstd.qcow2"} {
		qemuimg.Must(t, dir, append([]string{"convert"}, strings.Fields(args)...)...)
	}
	for _, args := range []string{
		"a.raw a.raw", "a.raw a.qcow2", "a.qcow2 c.qcow2", "-q a.qcow2 c.qcow2", "-s a.qcow2 c.qcow2", "--strict -q a.qcow2 c.qcow2",
		"a.raw b.raw", "b.raw a.qcow2", "-q a.raw b.raw", "a.raw longer.raw", "longer.raw a.qcow2", "-s a.raw longer.raw", "b.raw longer.raw",
		"-f raw a.qcow2 a.raw", "-F raw a.raw a.qcow2", "--a-format raw --b-format=raw a.raw b.raw", "-U a.raw b.raw", "-fraw -Fraw -sq a.raw b.raw",
		"missing a.raw", "a.raw missing", "-f vmdk a.qcow2 a.raw", "-f qcow2 a.raw a.raw",
	} {
		compareOutput(t, dir, append([]string{"compare"}, strings.Fields(args)...)...)
	}
}

// TestCompareFailures checks errors for which qemu-img has a different message or
// exit code. They must not look like different images.
func TestCompareFailures(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, strings.Repeat("x", 1<<20), dir, "a.raw")
	qemuimg.Must(t, dir, "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", "a.raw", "zstd.qcow2")
	qemuimg.Must(t, dir, "convert", "-O", "qcow2", "a.raw", "table.qcow2")
	table := readFile(t, filepath.Join(dir, "table.qcow2"))
	// The L1 table is in cluster 3.
	writeFile(t, table[:3<<16+6]+"\x02"+table[3<<16+7:], dir, "table.qcow2")
	for _, test := range []struct {
		args string
		code int
		word string
	}{
		{"a.raw", 2, "two image file names"},
		{"a.raw a.raw a.raw", 2, "two image file names"},
		{"--foo a.raw a.raw", 2, "(see qcow2gen compare --help)"},
		{"-p a.raw a.raw", 2, "--progress is not supported"},
		{"-T none a.raw a.raw", 2, "--cache is not supported"},
		{"nbd://x a.raw", 2, "protocol"},
		{"a.raw table.qcow2", 3, "L1 table"},
		{"zstd.qcow2 a.raw", 4, "qcow2convert"},
	} {
		r := run(t, dir, append([]string{"compare"}, strings.Fields(test.args)...)...)
		if r.Code != test.code || r.Stdout != "" || !strings.HasPrefix(r.Stderr, "qcow2gen: ") || !strings.Contains(r.Stderr, test.word) || strings.Contains(r.Stderr, ": qcow2: ") {
			t.Errorf("compare %s: exit code %d (want %d), %q (want %q)", test.args, r.Code, test.code, r.Stderr, test.word)
		}
	}
}
