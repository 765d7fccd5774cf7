package cli_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// patch overwrites a file's bytes from offset on.
func patch(t testing.TB, offset int, with []byte, elem ...string) {
	t.Helper()
	b := []byte(readFile(t, elem...))
	copy(b[offset:], with)
	writeFile(t, string(b), elem...)
}

func uint64Bytes(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// makeInfoImages creates images of all kinds that info describes, and returns
// their names.
func makeInfoImages(t testing.TB, dir string) []string {
	for _, sub := range []string{"sub", "sub/é\"\\ \x7f\t\n"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, strings.Repeat("odd", 333), dir, "odd.raw")
	writeFile(t, "", dir, "empty.raw")
	writeFile(t, "file: no protocol", dir, "sub", "é\"\\ \x7f\t\n", "名𝄞.raw")
	for _, args := range []string{
		"default.qcow2 1M",
		"v2.qcow2 -o compat=0.10 0",
		"raw.qcow2 -b odd.raw -F raw",
		"sub/top.qcow2 -b ../raw.qcow2 -F qcow2 100M -o compression_type=zstd,extended_l2=on,lazy_refcounts=on,refcount_bits=1",
		"sub/absolute.qcow2 -b " + dir + "/raw.qcow2 -F qcow2",
		"protocol.qcow2 -b file:" + dir + "/odd.raw -F raw",
		"data.qcow2 -o data_file=d.raw 1G",
		"dataraw.qcow2 -o data_file=d.raw,data_file_raw=on 1M",
		"preallocated.qcow2 -o preallocation=metadata 3M",
		"orphan.qcow2 -u -b nowhere -F vmdk 1T",
		"dirty.qcow2 1M", "corrupt.qcow2 1M", "odd.qcow2 1M", "noformat.qcow2 -b odd.raw -F raw", "snapshots.qcow2 1M -b odd.raw -F raw",
	} {
		mustRun(t, dir, append([]string{"create", "-q"}, strings.Fields(args)...)...)
	}
	const incompatibleFeatures, size, backingFormatExtension = 72, 24, 112
	patch(t, incompatibleFeatures, uint64Bytes(1), dir, "dirty.qcow2")
	patch(t, incompatibleFeatures, uint64Bytes(2), dir, "corrupt.qcow2")
	patch(t, size, uint64Bytes(1000), dir, "odd.qcow2")
	patch(t, backingFormatExtension, []byte("????"), dir, "noformat.qcow2")
	qemuimg.Must(t, dir, "snapshot", "-c", "a snapshot with a name that is longer than its column", "snapshots.qcow2")
	qemuimg.Must(t, dir, "snapshot", "-c", "ö", "snapshots.qcow2")
	writeFile(t, readFile(t, dir, "default.qcow2")+"tail", dir, "tail.qcow2")
	for _, args := range []string{
		"create -q -f qcow2 bitmaps.qcow2 1G",
		"bitmap --add bitmaps.qcow2 one",
		"bitmap --add --disable -g 32k bitmaps.qcow2 two",
		"create -q -f qcow2 -o encrypt.format=aes,encrypt.key-secret=key --object secret,id=key,data=word aes.qcow2 1M",
		"create -q -f qcow2 -o encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=1 --object secret,id=key,data=word luks.qcow2 1M",
		"create -q -f qcow2 -o encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=1,encrypt.cipher-alg=serpent-256,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256,encrypt.hash-alg=sha512 --object secret,id=key,data=word essiv.qcow2 1M",
		"create -q -f qcow2 -o compat=0.10,encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=1 --object secret,id=key,data=word v2luks.qcow2 1M",
	} {
		qemuimg.Must(t, dir, strings.Fields(args)...)
	}
	var names []string
	for name, text := range readTree(t, dir) {
		if text != "d---------" {
			names = append(names, name)
		}
	}
	return names
}

// TestInfoLikeQemuImg compares the whole output.
func TestInfoLikeQemuImg(t *testing.T) {
	needSameCommandLine(t)
	dir := t.TempDir()
	calls := [][]string{
		{"info", "-f", "raw", "default.qcow2"}, {"info", "-fqcow2", "default.qcow2"}, {"info", "-Uf", "qcow2", "--backing-chain", "raw.qcow2"},
		{"info", "-f", "raw", "--output=json", "--backing-chain", "raw.qcow2"}, {"info", "-f", "qcow2", "odd.raw"}, {"info", "--output=xml", "odd.raw"},
		{"info", "--output", "json", "--output=human", "odd.raw"}, {"info", "default.qcow2", "odd.raw"}, {"info", "--backing", "raw.qcow2"},
	}
	for _, name := range makeInfoImages(t, dir) {
		calls = append(calls, []string{"info", name}, []string{"info", "--output=json", "--backing-chain", "./" + name},
			[]string{"info", "-U", "--output", "json", name}, []string{"info", "--backing-chain", "file:" + name})
	}
	for _, args := range calls {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			theirs := qemuimg.Run(t, dir, args...)
			ours := run(t, dir, args...)
			if ours.Code != theirs.Code {
				t.Fatalf("exit code is %d, qemu-img's is %d: %s%s", ours.Code, theirs.Code, ours.Stderr, theirs.Stderr)
			}
			if ours.Code != 0 {
				checkRefused(t, ours)
			}
			if ours.Stdout != theirs.Stdout {
				t.Errorf("output is\n%sqemu-img's is\n%s", ours.Stdout, theirs.Stdout)
			}
		})
	}
}

// TestInfoSizes compares sizes in human form at the limits of units and digits.
func TestInfoSizes(t *testing.T) {
	needSameCommandLine(t)
	dir := t.TempDir()
	var names []string
	for _, size := range []int64{
		512, 999 << 10, 1000 << 10, 1023 << 10, 1<<20 - 512, 1 << 20, 1023<<20 + 512, 10<<20 - 512, 100<<20 - 512, 999<<20 + 512<<10 - 512, 999<<20 + 512<<10,
		999<<20 + 999<<10, 1000<<20 - 512, 1000 << 20, 1536 << 20, 1<<40 - 512, 12345678901 &^ 511, 1<<40 + 1<<39,
	} {
		name := fmt.Sprint(size)
		names = append(names, name)
		writeFile(t, "", dir, name)
		if err := os.Truncate(filepath.Join(dir, name), size); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		if ours, theirs := mustRun(t, dir, "info", name), qemuimg.Must(t, dir, "info", name); ours != theirs {
			t.Errorf("output is\n%sqemu-img's is\n%s", ours, theirs)
		}
	}
}

func TestInfoRefusals(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, dir, "create", "-q", "t.qcow2", "1M")
	writeFile(t, "KDMV and more of a VMDK file", dir, "vmdk")
	writeFile(t, readFile(t, dir, "t.qcow2")[:100], dir, "short.qcow2")
	mustRun(t, dir, "create", "-q", "-u", "-b", "loop.qcow2", "-F", "qcow2", "above.qcow2", "1M")
	mustRun(t, dir, "create", "-q", "-u", "-b", "above.qcow2", "-F", "qcow2", "loop.qcow2", "1M")
	for _, c := range []struct {
		args  string
		parts []string
	}{
		{"", []string{"info: want one image file name, got 0", "see qcow2gen info --help"}},
		{"t.qcow2 t.qcow2", []string{"got 2"}},
		{"nope.qcow2", []string{"qcow2gen: nope.qcow2: no such file"}},
		{"--backing-chain nope.qcow2", []string{"qcow2gen: nope.qcow2: no such file"}},
		{".", []string{"it must be a regular file"}},
		{"--backing-chain .", []string{"directory"}},
		{"a:t.qcow2", []string{`protocol "a"`}},
		{"-f vmdk t.qcow2", []string{`"vmdk" is not supported, only raw and qcow2 are`}},
		{"vmdk", []string{`"vmdk" is not supported, only raw and qcow2 are`}},
		{"-f qcow2 vmdk", []string{"not a qcow2 image"}},
		{"short.qcow2", []string{"short.qcow2: file is 100 bytes long"}},
		{"--backing-chain loop.qcow2", []string{"loop"}},
		{"--output=xml t.qcow2", []string{"'human' or 'json', not 'xml'"}},
		{"--image-opts driver=raw", []string{"--image-opts is not supported"}},
		{"--limits t.qcow2", []string{"--limits is not supported"}},
		{"-t none t.qcow2", []string{"--cache is not supported"}},
		{"--object secret,id=x t.qcow2", []string{"--object is not supported"}},
		{"-p t.qcow2", []string{"invalid option -- 'p'"}},
		{"--backing-chain=on t.qcow2", []string{"'--backing-chain' doesn't allow an argument"}},
	} {
		t.Run(c.args, func(t *testing.T) {
			mustRefuse(t, dir, c.parts, append([]string{"info"}, strings.Fields(c.args)...)...)
		})
	}
}
