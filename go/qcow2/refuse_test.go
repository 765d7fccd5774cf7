package qcow2_test

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

type options []*qcow2.GenerateOption

// refusals are calls of Generate that must fail. words must be in the error:
// what was given, and what is allowed.
var refusals = []struct {
	name  string
	opts  options
	words []string
}{
	{"nothing", nil, []string{"size", "backing file", "GenerateWithFileSize", "GenerateWithBackingFile"}},
	{"no size", options{qcow2.GenerateWithVersion(3)}, []string{"GenerateWithFileSize"}},
	{"nil option", options{nil}, []string{"nil"}},
	{"empty option", options{{}}, []string{"nil"}},
	{"option twice", options{size1M, qcow2.GenerateWithFileSize(1)}, []string{"GenerateWithFileSize", "twice", "once"}},
	{"same option twice", options{size1M, size1M}, []string{"GenerateWithFileSize", "twice"}},

	{"size beyond 2^64", options{qcow2.GenerateWithFileSize(math.MaxUint64)}, []string{"18446744073709551615", "512"}},
	{"largest multiple of 512", options{qcow2.GenerateWithFileSize(math.MaxUint64 - 511)}, []string{"18446744073709551104", "2251799813685248"}},
	{"size 2^63", options{qcow2.GenerateWithFileSize(1 << 63)}, []string{"9223372036854775808", "2251799813685248"}},
	{"size beyond L1 table", options{qcow2.GenerateWithFileSize(2<<50 + 1)}, []string{"2251799813685760", "2251799813685248", "larger clusters"}},
	{"size beyond L1 table, small clusters", options{qcow2.GenerateWithFileSize(128<<30 + 1), qcow2.GenerateWithClusterSize(512)}, []string{"137438953984", "137438953472"}},
	{"size beyond L1 table, extended L2", options{qcow2.GenerateWithFileSize(2 << 50), qcow2.GenerateWithExtendedL2(true)}, []string{"extended L2", "1125899906842624"}},
	{"size beyond refcount table", options{qcow2.GenerateWithFileSize(128 << 30), qcow2.GenerateWithClusterSize(512), qcow2.GenerateWithRefcountBits(64), qcow2.GenerateWithPreallocation(qcow2.PreallocationMetadata)}, []string{"refcount table", "8388608", "larger clusters"}},

	{"version 0", options{size1M, qcow2.GenerateWithVersion(0)}, []string{"version is 0", "2 or 3"}},
	{"version 1", options{size1M, qcow2.GenerateWithVersion(1)}, []string{"version is 1", "2 or 3"}},
	{"version 4", options{size1M, qcow2.GenerateWithVersion(4)}, []string{"version is 4", "2 or 3"}},
	{"version -1", options{size1M, qcow2.GenerateWithVersion(-1)}, []string{"version is -1"}},
	{"version 2 with extended L2", options{size1M, qcow2.GenerateWithVersion(2), qcow2.GenerateWithExtendedL2(true)}, []string{"version is 2", "extended L2"}},
	{"version 2 with lazy refcounts", options{size1M, qcow2.GenerateWithVersion(2), qcow2.GenerateWithLazyRefcounts(true)}, []string{"version is 2", "lazy refcounts"}},
	{"version 2 with refcount width", options{size1M, qcow2.GenerateWithVersion(2), qcow2.GenerateWithRefcountBits(8)}, []string{"version is 2", "8 bits"}},
	{"version 2 with zstd", options{size1M, qcow2.GenerateWithVersion(2), qcow2.GenerateWithCompressionType(qcow2.CompressionZstd)}, []string{"version is 2", "zstd"}},
	{"version 2 with data file", options{size1M, qcow2.GenerateWithVersion(2), qcow2.GenerateWithDataFile("data")}, []string{"version is 2", "external data file"}},

	{"cluster size 0", options{size1M, qcow2.GenerateWithClusterSize(0)}, []string{"cluster size is 0", "512", "2097152"}},
	{"cluster size 256", options{size1M, qcow2.GenerateWithClusterSize(256)}, []string{"cluster size is 256", "512", "2097152"}},
	{"cluster size 4 MiB", options{size1M, qcow2.GenerateWithClusterSize(4 << 20)}, []string{"cluster size is 4194304"}},
	{"cluster size no power of two", options{size1M, qcow2.GenerateWithClusterSize(65537)}, []string{"65537", "power of two"}},
	{"cluster size 2^63", options{size1M, qcow2.GenerateWithClusterSize(1 << 63)}, []string{"9223372036854775808"}},
	{"extended L2 with small clusters", options{size1M, qcow2.GenerateWithClusterSize(8192), qcow2.GenerateWithExtendedL2(true)}, []string{"8192", "extended L2", "16384"}},

	{"refcount width 0", options{size1M, qcow2.GenerateWithRefcountBits(0)}, []string{"refcount width is 0", "1 to 64"}},
	{"refcount width 3", options{size1M, qcow2.GenerateWithRefcountBits(3)}, []string{"refcount width is 3", "power of two"}},
	{"refcount width 128", options{size1M, qcow2.GenerateWithRefcountBits(128)}, []string{"refcount width is 128"}},
	{"refcount width -1", options{size1M, qcow2.GenerateWithRefcountBits(-1)}, []string{"refcount width is -1"}},
	{"refcount width -2^63", options{size1M, qcow2.GenerateWithRefcountBits(math.MinInt)}, []string{"refcount width is -9223372036854775808"}},
	{"compression type", options{size1M, qcow2.GenerateWithCompressionType("lz4")}, []string{`"lz4"`, `"zlib"`, `"zstd"`}},
	{"empty compression type", options{size1M, qcow2.GenerateWithCompressionType("")}, []string{`""`, `"zlib"`, `"zstd"`}},
	{"preallocation", options{size1M, qcow2.GenerateWithPreallocation("full")}, []string{`"full"`, `"off"`, `"metadata"`}},

	{"backing name empty", options{size1M, raw, qcow2.GenerateWithBackingFile("")}, []string{"backing file", "empty"}},
	{"backing name of 1024 bytes", options{size1M, raw, qcow2.GenerateWithBackingFile(strings.Repeat("x", 1024))}, []string{"backing file", "1024", "1023"}},
	{"backing name with NUL", options{size1M, raw, qcow2.GenerateWithBackingFile("base\x00.raw")}, []string{`"base\x00.raw"`, "NUL"}},
	{"backing name nbd", options{size1M, raw, qcow2.GenerateWithBackingFile("nbd:localhost:10809")}, []string{`"nbd:localhost:10809"`, `"nbd"`, "./"}},
	{"backing name nbd URL", options{size1M, raw, qcow2.GenerateWithBackingFile("nbd://localhost/x")}, []string{`"nbd"`}},
	{"backing name http", options{size1M, raw, qcow2.GenerateWithBackingFile("http://localhost/x")}, []string{`"http"`}},
	{"backing name file", options{size1M, raw, qcow2.GenerateWithBackingFile("file:base.raw")}, []string{`"file:base.raw"`, "absolute"}},
	{"backing name json", options{size1M, raw, qcow2.GenerateWithBackingFile(`json:{"driver":"null-co"}`)}, []string{`"json"`}},
	{"backing name a:b", options{size1M, raw, qcow2.GenerateWithBackingFile("a:b")}, []string{`"a:b"`}},
	{"backing name :", options{size1M, raw, qcow2.GenerateWithBackingFile(":")}, []string{`":"`}},
	{"backing name in small clusters", options{size1M, raw, qcow2.GenerateWithBackingFile(strings.Repeat("x", 400)), qcow2.GenerateWithClusterSize(512)}, []string{"first cluster", "512", "shorter names"}},
	{"backing format alone", options{size1M, raw}, []string{`"raw"`, "without a backing file"}},
	{"backing format empty", options{size1M, qcow2.GenerateWithBackingFile("x"), qcow2.GenerateWithBackingFormat("")}, []string{"backing format", "empty"}},
	{"backing format long", options{size1M, qcow2.GenerateWithBackingFile("x"), qcow2.GenerateWithBackingFormat("a-sixteen-letter")}, []string{"a-sixteen-letter", "16", "15"}},
	{"backing format in capitals", options{size1M, qcow2.GenerateWithBackingFile("x"), qcow2.GenerateWithBackingFormat("RAW")}, []string{`"RAW"`, "lower-case"}},
	{"backing format with NUL", options{size1M, qcow2.GenerateWithBackingFile("x"), qcow2.GenerateWithBackingFormat("raw\x00")}, []string{`"raw\x00"`}},
	{"backing file hidden", options{size1M, raw, qcow2.GenerateWithBackingFile("x"), qcow2.GenerateWithPreallocation(qcow2.PreallocationMetadata)}, []string{"preallocation", "backing file", "extended L2"}},

	{"data file raw alone", options{size1M, qcow2.GenerateWithDataFileRaw(true)}, []string{"raw external data file", "no external data file"}},
	{"data file raw over backing", options{size1M, raw, qcow2.GenerateWithBackingFile("x"), qcow2.GenerateWithDataFile("d"), qcow2.GenerateWithDataFileRaw(true)}, []string{"raw external data file", "backing file"}},
	{"data file name empty", options{size1M, qcow2.GenerateWithDataFile("")}, []string{"data file", "empty"}},
	{"data file name of 1024 bytes", options{size1M, qcow2.GenerateWithDataFile(strings.Repeat("x", 1024))}, []string{"data file", "1024", "1023"}},
	{"data file name with protocol", options{size1M, qcow2.GenerateWithDataFile("nbd:x")}, []string{"data file", `"nbd"`}},
}

var (
	size1M = qcow2.GenerateWithFileSize(1 << 20)
	raw    = qcow2.GenerateWithBackingFormat("raw")
)

func TestGenerateRefuses(t *testing.T) {
	for _, test := range refusals {
		t.Run(test.name, func(t *testing.T) {
			mustRefuse(t, test.opts, test.words...)
		})
	}
}

// mustRefuse asserts that Generate writes nothing, and that its error is one
// sentence with the words given.
func mustRefuse(t *testing.T, opts options, words ...string) {
	t.Helper()
	var b bytes.Buffer
	err := qcow2.Generate(&b, opts...)
	if b.Len() != 0 {
		t.Errorf("%d bytes were written", b.Len())
	}
	checkSentence(t, err, words...)
}

func checkSentence(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("accepted")
	}
	message := err.Error()
	if !strings.HasPrefix(message, "qcow2: ") || strings.Count(message, "qcow2: ") != 1 || strings.ContainsAny(message, "\n\r\x00") || strings.HasSuffix(message, ".") {
		t.Errorf("error is not one sentence of this package: %q", message)
	}
	for _, word := range words {
		if !strings.Contains(message, word) {
			t.Errorf("error does not say %q: %q", word, message)
		}
	}
}

// TestGenerateRefusesBackingFile has backing files that cannot be read for a
// size or a format.
func TestGenerateRefusesBackingFile(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		writeFile(t, path, b)
		return path
	}
	fifo, link := filepath.Join(dir, "fifo"), filepath.Join(dir, "link")
	if err := syscall.Mkfifo(fifo, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("link", link); err != nil {
		t.Fatal(err)
	}
	unreadable := file("unreadable", make([]byte, 512))
	if err := os.Chmod(unreadable, 0); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path  string
		words []string
	}{
		{filepath.Join(dir, "missing"), []string{"no such file"}},
		{dir, []string{"directory", "regular file"}},
		{fifo, []string{"named pipe", "regular file"}},
		{link, []string{"too many"}},
		{"/dev/zero", []string{"character device"}},
		{file("file", nil) + "/x", []string{"not a directory"}},
		{file("cut off.qcow2", []byte("QFI\xfb\x00\x00\x00\x03")), []string{"8 bytes long", "104"}},
		{file("version 1.qcow", []byte("QFI\xfb\x00\x00\x00\x01")), []string{`"qcow"`, "raw", "qcow2"}},
		{file("disk.vmdk", []byte("KDMV")), []string{`"vmdk"`}},
		{unreadable, []string{"permission denied"}},
	} {
		t.Run(filepath.Base(test.path), func(t *testing.T) {
			if test.path == unreadable && os.Geteuid() == 0 {
				t.Skip("root reads everything")
			}
			mustRefuse(t, options{qcow2.GenerateWithBackingFile(test.path)}, append(test.words, test.path)...)
		})
	}

	// The backing file is not opened if both are given.
	missing := filepath.Join(dir, "missing")
	mustRefuse(t, options{size1M, qcow2.GenerateWithBackingFile(missing)}, missing, "format")
	mustRefuse(t, options{raw, qcow2.GenerateWithBackingFile(missing)}, missing, "size")
	empty := file("empty", nil)
	mustRefuse(t, options{qcow2.GenerateWithBackingFile(empty), qcow2.GenerateWithBackingFormat("vmdk")}, empty, `"vmdk"`)
	var b bytes.Buffer
	if err := qcow2.Generate(&b, size1M, qcow2.GenerateWithBackingFile(missing), qcow2.GenerateWithBackingFormat("vmdk")); err != nil {
		t.Errorf("missing backing file with size and format given: %v", err)
	}
}
