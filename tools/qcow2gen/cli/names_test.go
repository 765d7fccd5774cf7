package cli_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// replaceName replaces a name in the header of an image by another one of the
// same length.
func replaceName(t *testing.T, dir, image, old, new string) {
	t.Helper()
	text := readFile(t, dir, image)
	if len(old) != len(new) || strings.Count(text, old) != 1 {
		t.Fatalf("%q in %s cannot be replaced by %q", old, image, new)
	}
	writeFile(t, strings.Replace(text, old, new, 1), dir, image)
}

// TestStringsWithNUL has strings in the header that QEMU cuts off at a NUL.
func TestStringsWithNUL(t *testing.T) {
	needSameCommandLine(t)
	dir := t.TempDir()
	writeFile(t, strings.Repeat("text", 30_000), dir, "base.raw")
	qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "base.qcow2", "1M")
	for image, change := range map[string]struct{ options, old, new string }{
		"raw.qcow2":    {"backing_file=base.raw,backing_fmt=blkdebug", "blkdebug", "raw\x00rest"},
		"qcow2.qcow2":  {"backing_file=base.qcow2,backing_fmt=copy-on-read", "copy-on-read", "qcow2\x00rest\x00\x00"},
		"probe.qcow2":  {"backing_file=base.qcow2,backing_fmt=blkdebug", "blkdebug", "\x00debug\x00\x00"},
		"wrong.qcow2":  {"backing_file=base.raw,backing_fmt=blkdebug", "blkdebug", "ra\x00debug"},
		"name.qcow2":   {"backing_file=base.raw.old,backing_fmt=raw", "base.raw.old", "base.raw\x00old"},
		"noname.qcow2": {"backing_file=base.raw.old,backing_fmt=raw", "base.raw.old", "\x00ase.raw.old"},
		"data.qcow2":   {"data_file=base.raw.old,data_file_raw=on", "base.raw.old", "base.raw\x00old"},
	} {
		args := []string{"create", "-q", "-f", "qcow2", "-u", "-o", change.options, image, "120000"}
		qemuimg.Must(t, dir, args...)
		replaceName(t, dir, image, change.old, change.new)
		for _, args := range []string{"info --output=json", "info --backing-chain", "map", "compare -F raw base.raw"} {
			compareOutput(t, dir, append(strings.Fields(args), image)...)
		}
		compareOutput(t, dir, "create", "-f", "qcow2", "-b", image, "-F", "qcow2", "new.qcow2")
	}
	qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "many.qcow2", "1M")
	qemuimg.Must(t, dir, "snapshot", "-c", "snapshot-name", "many.qcow2")
	qemuimg.Must(t, dir, "bitmap", "--add", "many.qcow2", "bitmap-name")
	replaceName(t, dir, "many.qcow2", "snapshot-name", "snapshot\x00name")
	replaceName(t, dir, "many.qcow2", "bitmap-name", "bitmap\x00name")
	for _, args := range []string{"info", "info --output=json", "check", "convert -l snapshot -O raw", "convert -l snapshot-name -O raw"} {
		args := append(strings.Fields(args), "many.qcow2")
		if args[0] == "convert" {
			args = append(args, "out.raw")
		}
		compareOutput(t, dir, args...)
	}
}

// TestDataFileNames has names of external data files that look like protocols.
// QEMU takes a name in the header as a path.
func TestDataFileNames(t *testing.T) {
	needSameCommandLine(t)
	dir := t.TempDir()
	qemuimg.Must(t, dir, "create", "-q", "-f", "raw", "same", "64k")
	for _, name := range []string{"a:b", "file:x", "json:{}", "nbd:x", ":x", "x:", "file:" + dir + "/same", dir + "/same", "./a:b"} {
		stand := strings.NewReplacer(":", "_", "/", "_").Replace(name)
		qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "-o", "data_file="+stand+",data_file_raw=on", "image.qcow2", "64k")
		replaceName(t, dir, "image.qcow2", stand, name)
		if !strings.Contains(name, "/") {
			writeFile(t, strings.Repeat(name[:1], 65536), dir, name)
		}
		writeFile(t, strings.Repeat(name[:1], 65536), dir, "want.raw")
		for _, args := range []string{"info --output=json image.qcow2", "info image.qcow2", "compare -F raw image.qcow2 want.raw", "map --output=json image.qcow2"} {
			if name == "./a:b" && strings.HasPrefix(args, "map") {
				continue // the name of the file is printed in another form
			}
			compareOutput(t, dir, strings.Fields(args)...)
		}
	}
}

// TestFormatFile has the format file, which reads as raw.
func TestFormatFile(t *testing.T) {
	needSameCommandLine(t)
	dir := t.TempDir()
	writeFile(t, strings.Repeat("text", 300), dir, "base.raw")
	for _, args := range []string{
		"create -q -f qcow2 -b base.raw -F file top.qcow2", "create -f qcow2 -b base.raw -F file new.qcow2", "create -f qcow2 -b top.qcow2 -F qcow2 new.qcow2",
		"info --backing-chain top.qcow2", "info --backing-chain --output=json top.qcow2",
		"info -f file base.raw", "info -f file --output=json base.raw", "map -f file base.raw", "map -f file --output=json base.raw", "map top.qcow2",
		"compare -f file -F file base.raw base.raw", "compare -f file base.raw top.qcow2", "check -f file base.raw",
		"convert -f file -O raw base.raw out.raw", "compare out.raw base.raw", "convert -f file -O qcow2 base.raw out.qcow2", "compare -F file out.qcow2 base.raw",
		"convert -O qcow2 -B base.raw -F file base.raw diff.qcow2", "compare -F raw diff.qcow2 base.raw",
		"rebase -f qcow2 -b base.raw -F file new.qcow2", "compare -F raw new.qcow2 base.raw",
	} {
		compareOutput(t, dir, strings.Fields(args)...)
	}
	mustRun(t, dir, "layer", "-q", "-F", "file", "base.raw", "layer.qcow2", "1M")
	qemuimg.Must(t, dir, "compare", "-F", "raw", filepath.Join(dir, "layer.qcow2"), "base.raw")
	mustRun(t, dir, "commit", "-q", "layer.qcow2")
	qemuimg.Must(t, dir, "check", "-q", "layer.qcow2")
}
