package qcow2_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// overwrite writes big-endian integers and bytes into the file at path.
func overwrite(t testing.TB, path string, offset int64, values ...any) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b bytes.Buffer
	for _, value := range values {
		if err := binary.Write(&b, binary.BigEndian, value); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.WriteAt(b.Bytes(), offset); err != nil {
		t.Fatal(err)
	}
}

// openFile opens one image without the layers below it.
func openFile(t testing.TB, path string, opts ...*qcow2.OpenOption) (*qcow2.Disk, error) {
	t.Helper()
	b := readFile(t, path)
	return qcow2.Open(bytes.NewReader(b), int64(len(b)), opts...)
}

// checkError checks that err is one sentence of this package with all of words.
// It may name files.
func checkError(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Error("accepted")
		return
	}
	message := err.Error()
	if !strings.HasPrefix(message, "qcow2: ") || strings.Contains(message, " qcow2: ") || strings.Contains(message, "\n") || strings.HasSuffix(message, ".") {
		t.Errorf("error is not one sentence of this package: %q", message)
	}
	for _, word := range words {
		if !strings.Contains(message, word) {
			t.Errorf("error does not say %q: %q", word, message)
		}
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "overlay.qcow2")
	writeFile(t, filepath.Join(dir, "base.raw"), bytes.Repeat([]byte{7}, 1<<20))
	mustGenerate(t, path, qcow2.GenerateWithBackingFile("base.raw"), qcow2.GenerateWithBackingFormat("raw"), qcow2.GenerateWithFileSize(2<<20))

	alone, err := openFile(t, path)
	if err != nil {
		t.Fatal(err)
	}
	if got := readDisk(t, alone); !bytes.Equal(got, make([]byte, 2<<20)) {
		t.Error("an image on its own does not read as zeros")
	}
	chain := openChain(t, path)
	if got := readDisk(t, chain); got[0] != 7 || got[1<<20-1] != 7 || got[1<<20] != 0 {
		t.Error("the chain does not read as its base, and zeros behind that")
	}
	var layers []string
	for _, l := range chain.Layers() {
		layers = append(layers, l.Format+" "+strings.TrimPrefix(l.Path, dir+"/"))
	}
	if got := strings.Join(layers, ", "); got != "qcow2 overlay.qcow2, raw base.raw" {
		t.Errorf("layers are %s", got)
	}
	if err := chain.Close(); err != nil {
		t.Error(err)
	}
	if _, err := chain.ReadAt(make([]byte, 1), 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("ReadAt of a closed disk: %v", err)
	}

	raw, err := openFile(t, path, qcow2.OpenWithFormat(qcow2.FormatRaw))
	if err != nil {
		t.Fatal(err)
	}
	if want := readFile(t, path); raw.Size() != int64(len(want)+511)/512*512 || !bytes.HasPrefix(readDisk(t, raw), want) {
		t.Error("an image that is opened as raw does not read as the file")
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	inDir := func(name string) string { return filepath.Join(dir, name) }
	plain := inDir("plain.qcow2")
	mustGenerate(t, plain, qcow2.GenerateWithFileSize(1<<20))
	writeFile(t, inDir("aes.qcow2"), readFile(t, plain))
	overwrite(t, inDir("aes.qcow2"), 32, uint32(1))
	qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "--object", "secret,id=key,data=x",
		"-o", "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10", "luks.qcow2", "1M")
	writeFile(t, inDir("text"), []byte("no image"))
	mustGenerate(t, inDir("external.qcow2"), qcow2.GenerateWithFileSize(1<<20), qcow2.GenerateWithDataFile("missing.data"))
	mustGenerate(t, inDir("loop.qcow2"), qcow2.GenerateWithFileSize(1<<20), qcow2.GenerateWithBackingFile("loop.qcow2"), qcow2.GenerateWithBackingFormat("qcow2"))
	qemuimg.Must(t, dir, "create", "-q", "-u", "-f", "qcow2", "-b", "nbd://localhost/x", "-F", "raw", "protocol.qcow2", "1M")
	writeFile(t, inDir("unnamed.qcow2"), readFile(t, inDir("external.qcow2")))
	overwrite(t, inDir("unnamed.qcow2"), 112, uint32(0x12345678)) // another type of extension

	for _, test := range []struct {
		name string
		open func() (*qcow2.Disk, error)
		want string
	}{
		{"text", func() (*qcow2.Disk, error) { return openFile(t, inDir("text")) }, "not a qcow2 image"},
		{"AES", func() (*qcow2.Disk, error) { return openFile(t, inDir("aes.qcow2")) }, "encrypted with AES"},
		{"LUKS", func() (*qcow2.Disk, error) { return qcow2.OpenChain(inDir("luks.qcow2")) }, "encrypted with LUKS"},
		{"data file of Open", func() (*qcow2.Disk, error) { return openFile(t, inDir("external.qcow2")) }, `"missing.data"`},
		{"missing data file", func() (*qcow2.Disk, error) { return qcow2.OpenChain(inDir("external.qcow2")) }, "missing.data"},
		{"unnamed data file", func() (*qcow2.Disk, error) { return qcow2.OpenChain(inDir("unnamed.qcow2")) }, "name is not recorded"},
		{"loop", func() (*qcow2.Disk, error) { return qcow2.OpenChain(inDir("loop.qcow2")) }, "loops"},
		{"protocol", func() (*qcow2.Disk, error) { return qcow2.OpenChain(inDir("protocol.qcow2")) }, `protocol "nbd"`},
		{"missing file", func() (*qcow2.Disk, error) { return qcow2.OpenChain(inDir("missing")) }, "no such file"},
		{"directory", func() (*qcow2.Disk, error) { return qcow2.OpenChain(dir) }, "directory"},
		{"format", func() (*qcow2.Disk, error) { return qcow2.OpenChain(plain, qcow2.OpenWithFormat("vmdk")) }, `format "vmdk"`},
		{"snapshot", func() (*qcow2.Disk, error) { return qcow2.OpenChain(plain, qcow2.OpenWithSnapshot("s")) }, `snapshot "s" is not among the 0`},
		{"snapshot of raw", func() (*qcow2.Disk, error) { return qcow2.OpenChain(inDir("text"), qcow2.OpenWithSnapshot("s")) }, "raw"},
		{"negative size", func() (*qcow2.Disk, error) { return qcow2.Open(bytes.NewReader(nil), -1) }, "size -1 of the image must not be negative"},
		{"twice", func() (*qcow2.Disk, error) {
			return openFile(t, plain, qcow2.OpenWithFormat("qcow2"), qcow2.OpenWithFormat("raw"))
		}, "OpenWithFormat is given twice"},
		{"nil", func() (*qcow2.Disk, error) { return openFile(t, plain, nil) }, "option is nil"},
		{"root of Open", func() (*qcow2.Disk, error) { return openFile(t, plain, qcow2.OpenWithRoot(dir)) }, "OpenWithRoot"},
		{"missing root", func() (*qcow2.Disk, error) { return qcow2.OpenChain(plain, qcow2.OpenWithRoot(inDir("none"))) }, "root directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, err := test.open()
			if err == nil || d != nil {
				t.Fatalf("opened %v, error %v", d, err)
			}
			checkError(t, err, test.want)
		})
	}
}

// TestOpenWithRoot has one chain inside of a root directory, and all ways to
// leave it.
func TestOpenWithRoot(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	for _, d := range []string{"outside", "root/sub"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	content := bytes.Repeat([]byte{1}, 1<<20)
	writeFile(t, filepath.Join(dir, "outside/base.raw"), content)
	writeFile(t, filepath.Join(root, "base.raw"), content)
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("base.raw", "inner")
	link("../outside/base.raw", "relative")
	link(filepath.Join(dir, "outside/base.raw"), "absolute")
	link("../outside", "dir")
	link("sub/../base.raw", "around")

	overlay := func(backing string) string {
		t.Helper()
		path := filepath.Join(root, "sub/overlay.qcow2")
		mustGenerate(t, path, qcow2.GenerateWithFileSize(1<<20), qcow2.GenerateWithBackingFile(backing), qcow2.GenerateWithBackingFormat("raw"))
		return path
	}
	for _, backing := range []string{"../base.raw", "../inner", "../around", filepath.Join(root, "base.raw"), "../sub/../base.raw"} {
		d, err := qcow2.OpenChain(overlay(backing), qcow2.OpenWithRoot(root))
		if err != nil {
			t.Errorf("backing file %s: %v", backing, err)
			continue
		}
		if got := readDisk(t, d); !bytes.Equal(got, content) {
			t.Errorf("backing file %s: wrong contents", backing)
		}
		d.Close()
	}
	for _, backing := range []string{"../../outside/base.raw", "../relative", "../absolute", "../dir/base.raw",
		filepath.Join(dir, "outside/base.raw"), root + "/../outside/base.raw", root + "x/base.raw"} {
		path := overlay(backing)
		if _, err := qcow2.OpenChain(path, qcow2.OpenWithRoot(root)); err == nil {
			t.Errorf("backing file %s is outside of the root, and opened", backing)
		} else {
			checkError(t, err)
		}
	}
	// The image itself, an external data file, and a relative path.
	if _, err := qcow2.OpenChain(filepath.Join(dir, "outside/base.raw"), qcow2.OpenWithRoot(root)); err == nil {
		t.Error("an image outside of the root opened")
	}
	external := filepath.Join(root, "external.qcow2")
	mustGenerate(t, external, qcow2.GenerateWithFileSize(1<<20), qcow2.GenerateWithDataFile("../outside/base.raw"))
	if _, err := qcow2.OpenChain(external, qcow2.OpenWithRoot(root)); err == nil {
		t.Error("an external data file outside of the root opened")
	}
	t.Chdir(root)
	openChain(t, "base.raw", qcow2.OpenWithRoot("."))
	openChain(t, "base.raw", qcow2.OpenWithRoot("/"))
}

// TestOpenWithSnapshot has a snapshot whose name is the ID of another one, and
// a snapshot of another size than the image has now.
func TestOpenWithSnapshot(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "image.qcow2")
	qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "image.qcow2", "1M")
	for _, step := range []struct{ pattern, snapshot string }{{"1", "2"}, {"2", "second"}, {"3", ""}} {
		if r := qemuimg.IO(t, dir, "image.qcow2", "write -q -P "+step.pattern+" 0 1M"); r.Code != 0 {
			t.Fatal(r)
		}
		if step.snapshot != "" {
			qemuimg.Must(t, dir, "snapshot", "-q", "-c", step.snapshot, "image.qcow2")
		}
	}
	qemuimg.Must(t, dir, "resize", "-q", "-f", "qcow2", "image.qcow2", "3M")
	for _, test := range []struct {
		snapshot string
		want     byte
	}{
		{"1", 1},      // an ID
		{"2", 2},      // an ID before a name
		{"second", 2}, // a name
	} {
		d := openChain(t, path, qcow2.OpenWithSnapshot(test.snapshot))
		if got := readDisk(t, d); !bytes.Equal(got, bytes.Repeat([]byte{test.want}, 1<<20)) {
			t.Errorf("snapshot %s: %d bytes that begin with %d", test.snapshot, len(got), got[0])
		}
	}
	if got := readDisk(t, openChain(t, path)); len(got) != 3<<20 || got[0] != 3 || got[1<<20] != 0 {
		t.Error("the image itself is not what was written last")
	}

	// The L1 table of the snapshot is after the end of the file.
	image, err := qcow2.Inspect(bytes.NewReader(readFile(t, path)), int64(len(readFile(t, path))))
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, path, int64(image.Header.SnapshotsOffset), uint64(1<<40))
	_, err = qcow2.OpenChain(path, qcow2.OpenWithSnapshot("1"))
	checkError(t, err, `L1 table of snapshot "1"`, "1099511627784")
	overwrite(t, path, int64(image.Header.SnapshotsOffset), uint64(1234))
	_, err = qcow2.OpenChain(path, qcow2.OpenWithSnapshot("1"))
	checkError(t, err, `L1 table of snapshot "1"`, "1234")
}
