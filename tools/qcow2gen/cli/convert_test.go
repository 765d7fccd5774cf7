package cli_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
	"github.com/rules-qcow2/rules_qcow2/tools/qcow2gen/cli"
)

// noise returns bytes that do not compress and are not zero.
func noise(n int) string {
	b := make([]byte, n)
	state := uint32(1)
	for i := range b {
		state = state*1664525 + 1013904223
		b[i] = byte(state>>24) | 1
	}
	return string(b)
}

// TestConvertOddSizes converts disks of odd sizes to both formats.
func TestConvertOddSizes(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int{0, 1, 511, 512, 513, 4095, 65535, 65536, 65537, 1<<20 - 1} {
		writeFile(t, noise(size), dir, "source.raw")
		for _, format := range []string{"raw", "qcow2"} {
			mustRun(t, dir, "convert", "-f", "raw", "-O", format, "source.raw", "ours")
			qemuimg.Must(t, dir, "convert", "-f", "raw", "-O", format, "source.raw", "theirs")
			if r := qemuimg.Run(t, dir, "compare", "-f", format, "-F", format, "ours", "theirs"); r.Code != 0 || r.Stdout != "Images are identical.\n" {
				t.Errorf("%d bytes as %s: %+v", size, format, r)
			}
			if format == "raw" && readFile(t, dir, "ours") != readFile(t, dir, "theirs") {
				t.Errorf("%d bytes: the raw file differs from qemu-img's", size)
			}
		}
	}
}

// TestConvertDamaged converts sources that are damaged or need what is not there.
// Nothing is left.
func TestConvertDamaged(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, noise(1<<20), dir, "base.raw")
	for _, args := range []string{
		"convert -f raw -O qcow2 base.raw plain.qcow2", "convert -f raw -c -O qcow2 base.raw zlib.qcow2",
		"create -q -f qcow2 -b base.raw -F raw top.qcow2", "create -q -f qcow2 -o data_file=data.raw external.qcow2 1M",
		"create -q -f qcow2 -u -b nowhere -F raw orphan.qcow2 1M",
		"create -q -f qcow2 -u -b above.qcow2 -F qcow2 loop.qcow2 1M", "create -q -f qcow2 -u -b loop.qcow2 -F qcow2 above.qcow2 1M",
		"create -q -f qcow2 -o encrypt.format=aes,encrypt.key-secret=key --object secret,id=key,data=word aes.qcow2 1M",
		"create -q -f qcow2 -o encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=1 --object secret,id=key,data=word luks.qcow2 1M",
	} {
		qemuimg.Must(t, dir, strings.Fields(args)...)
	}
	writeFile(t, strings.Repeat("text ", 200_000), dir, "text.raw")
	qemuimg.Must(t, dir, "convert", "-f", "raw", "-c", "-O", "qcow2", "text.raw", "text.qcow2")
	os.Remove(filepath.Join(dir, "data.raw"))
	plain, text := readFile(t, dir, "plain.qcow2"), readFile(t, dir, "text.qcow2")
	writeFile(t, plain[:len(plain)-300_000], dir, "cut.qcow2")
	writeFile(t, plain[:4<<16], dir, "notable.qcow2")
	writeFile(t, text[:5<<16]+strings.Repeat("\xff", 2000)+text[5<<16+2000:], dir, "badzlib.qcow2")
	// The first L2 table is in cluster 4, after the L1 table in cluster 3.
	writeFile(t, plain[:3<<16]+"\x80\x00\x00\x00\x00\x04\x02\x00"+plain[3<<16+8:], dir, "unaligned.qcow2")
	writeFile(t, plain[:100], dir, "header.qcow2")
	before := readTree(t, dir)
	for _, c := range []struct{ args, part string }{
		{"cut.qcow2", "cut.qcow2: "}, {"notable.qcow2", "notable.qcow2: "}, {"badzlib.qcow2", "badzlib.qcow2: compressed cluster"},
		{"unaligned.qcow2", "not a multiple of the cluster size"}, {"header.qcow2", "header.qcow2: file is 100 bytes long"},
		{"external.qcow2", "data.raw"}, {"orphan.qcow2", "nowhere"}, {"loop.qcow2", "loop"}, {"aes.qcow2", "encrypted"}, {"luks.qcow2", "encrypted"},
		{"nope.qcow2", "nope.qcow2: no such file"}, {".", "directory"}, {"/dev/zero", "character device"}, {"-l x plain.qcow2", `snapshot "x"`},
		{"-f raw -", "standard input"}, {"nbd:x", "protocol"},
	} {
		for _, format := range []string{"raw", "qcow2"} {
			r := run(t, dir, append([]string{"convert", "-O", format}, append(strings.Fields(c.args), "out")...)...)
			checkRefused(t, r, c.part)
			if diff := before.diff(readTree(t, dir)); diff != "" {
				t.Fatalf("convert %s: %s", c.args, diff)
			}
		}
	}
}

// TestConvertHuge converts a disk of 1 PiB with data at both ends. Its raw file is
// longer than the file system allows.
func TestConvertHuge(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, dir, "create", "-q", "huge.qcow2", "1P")
	if r := qemuimg.IO(t, dir, "huge.qcow2", "write -P 1 0 64k", "write -P 2 1125899906777088 64k"); r.Code != 0 {
		t.Fatal(r)
	}
	mustRun(t, dir, "convert", "-O", "qcow2", "huge.qcow2", "out.qcow2")
	if out := qemuimg.Must(t, dir, "compare", "huge.qcow2", "out.qcow2"); out != "Images are identical.\n" {
		t.Error(out)
	}
	if len(readFile(t, dir, "out.qcow2")) > 20<<20 {
		t.Error("the image has more than 20 MiB")
	}
	if file, err := os.Create(filepath.Join(dir, "long")); err != nil || file.Truncate(1<<50) == nil {
		t.Skip("the file system allows files of 1 PiB: ", err)
	}
	mustRefuse(t, dir, []string{"out.raw: ", "file too large"}, "convert", "huge.qcow2", "out.raw")
}

// A hook runs a function at the first write.
type hook struct {
	bytes.Buffer
	run func()
}

func (h *hook) Write(b []byte) (int, error) {
	if h.run != nil {
		h.run()
		h.run = nil
	}
	return h.Buffer.Write(b)
}

// TestConvertChangingSource changes the source while it is read, which is after the
// first line of -p.
func TestConvertChangingSource(t *testing.T) {
	dir := t.TempDir()
	for name, change := range map[string]func(f *os.File) error{
		"written":   func(f *os.File) error { _, err := f.WriteAt([]byte("other"), 5000); return err },
		"shorter":   func(f *os.File) error { return f.Truncate(1000) },
		"longer":    func(f *os.File) error { return f.Truncate(3 << 20) },
		"header":    func(f *os.File) error { _, err := f.WriteAt([]byte("x"), 0); return err },
		"untouched": nil,
	} {
		for _, format := range []string{"raw", "qcow2"} {
			writeFile(t, noise(2<<20), dir, "source.raw")
			before := readTree(t, dir)
			path := filepath.Join(dir, "source.raw")
			old := time.Now().Add(-time.Hour) // clocks of file systems may be coarse
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			stdout := &hook{run: func() {
				f, err := os.OpenFile(path, os.O_RDWR, 0)
				if err == nil && change != nil {
					err = change(f)
				}
				if err != nil {
					t.Error(err)
				}
				f.Close()
			}}
			code := cli.Main([]string{"qcow2gen", "convert", "-p", "-f", "raw", "-O", format, path, filepath.Join(dir, "out")}, nil, stdout, &stderr)
			if change == nil {
				if code != 0 {
					t.Errorf("source that is read only: %d, %s", code, stderr.String())
				}
				os.Remove(filepath.Join(dir, "out"))
				continue
			}
			if code != 1 || !strings.Contains(stderr.String(), "source.raw: ") {
				t.Errorf("%s: exit code %d, %q", name, code, stderr.String())
			}
			if diff := before.diff(readTree(t, dir)); diff != "source.raw differs" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
}

// TestConvertStdin reads the standard input from a pipe and from a file.
func TestConvertStdin(t *testing.T) {
	both(t, func(t *testing.T, environment []string) {
		dir := t.TempDir()
		text := noise(300_000) + strings.Repeat("\x00", 500_000) + noise(1000)
		writeFile(t, text, dir, "source.raw")
		for _, format := range []string{"raw", "qcow2"} {
			mustRun(t, dir, "convert", "-f", "raw", "-O", format, "source.raw", "want")
			file, err := os.Open(filepath.Join(dir, "source.raw"))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			for name, set := range map[string]func(cmd *exec.Cmd){
				"pipe": func(cmd *exec.Cmd) { cmd.Stdin = strings.NewReader(text) },
				"file": func(cmd *exec.Cmd) { cmd.Stdin = file },
			} {
				cmd := program(t, dir, environment, "convert", "-f", "raw", "-O", format, "-", "out")
				set(cmd)
				mustRunProgram(t, cmd)
				if readFile(t, dir, "out") != readFile(t, dir, "want") {
					t.Errorf("%s: the %s image from standard input is another one", name, format)
				}
			}
		}
		for _, args := range []string{"- out", "-f qcow2 - out", "-f raw -l x - out"} {
			cmd := program(t, dir, environment, append([]string{"convert"}, strings.Fields(args)...)...)
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), "standard input: ") {
				t.Errorf("convert %s: %d, %s", args, code, out)
			}
		}
		if files := readTree(t, dir); len(files) != 3 {
			t.Errorf("%d files are there, want 3", len(files))
		}
	})
}

// TestConvertNoCompressor checks that the program without a compressor says which one
// has it.
func TestConvertNoCompressor(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, strings.Repeat("x", 100_000), dir, "a.raw")
	mustRefuse(t, dir, []string{"out: ", "zlib", "qcow2convert"}, "convert", "-c", "-O", "qcow2", "a.raw", "out")
	mustRefuse(t, dir, []string{"zstd", "qcow2convert"}, "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", "a.raw", "out")
	qemuimg.Must(t, dir, "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", "a.raw", "zstd.qcow2")
	mustRefuse(t, dir, []string{"zstd.qcow2: ", "qcow2convert"}, "convert", "zstd.qcow2", "out")
}

// TestConvertInUse takes the locks of QEMU on sources and targets.
func TestConvertInUse(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, dir, "create", "-q", "base.qcow2", "1M")
	mustRun(t, dir, "create", "-q", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")
	f, err := os.OpenFile(filepath.Join(dir, "base.qcow2"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lock := syscall.Flock_t{Type: syscall.F_RDLCK, Start: 101, Len: 1}
	if err := syscall.FcntlFlock(f.Fd(), 37, &lock); err != nil { // F_OFD_SETLK
		t.Fatal(err)
	}
	mustRefuse(t, dir, []string{"base.qcow2: QEMU has it open for writing", "-U"}, "convert", "top.qcow2", "out")
	mustRun(t, dir, "convert", "-U", "top.qcow2", "out")
	os.Remove(filepath.Join(dir, "out"))
	mustRefuse(t, dir, []string{"base.qcow2: ", "QEMU has it open"}, "convert", "-n", "-O", "qcow2", "top.qcow2", "base.qcow2")
	mustRefuse(t, dir, []string{"base.qcow2: ", "QEMU has it open"}, "rebase", "-b", "", "top.qcow2")
	mustRefuse(t, dir, []string{"base.qcow2: ", "QEMU has it open"}, "rebase", "-u", "-b", "x", "-F", "raw", "base.qcow2")
	mustRefuse(t, dir, []string{"base.qcow2: ", "QEMU has it open"}, "commit", "top.qcow2")
}

// TestConvertForRule tests the options that only the Bazel rule uses.
func TestConvertForRule(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, noise(200_000), dir, "base.raw")
	writeFile(t, noise(100_000)+strings.Repeat("new", 30_000), dir, "new.raw")
	os.Mkdir(filepath.Join(dir, "links"), 0o777)
	writeFile(t, `{"virtual-size":200192,"format":"raw"}`, dir, "base.json")
	for _, args := range []string{
		"-b links/base.raw -F raw --backing-path base.raw", "-b links/base.raw --backing-info base.json --backing-path base.raw",
		"-b links/base.raw --detect-backing-format --standalone-backing --backing-path base.raw",
	} {
		mustRun(t, dir, append([]string{"convert", "-O", "qcow2", "--standalone-source", "--info-output", "out.json", "new.raw", "out.qcow2"}, strings.Fields(args)...)...)
		if text, want := readFile(t, dir, "out.json"), "{\"virtual-size\":190464,\"format\":\"qcow2\",\"cluster-size\":65536}\n"; text != want {
			t.Errorf("%s: info is %q, want %q", args, text, want)
		}
		os.Symlink("../base.raw", filepath.Join(dir, "links", "base.raw"))
		if out := qemuimg.Must(t, dir, "compare", "-f", "qcow2", "-F", "raw", "out.qcow2", "new.raw"); out != "Images are identical.\n" {
			t.Errorf("%s: %s", args, out)
		}
		if out := qemuimg.Must(t, dir, "info", "out.qcow2"); !strings.Contains(out, "backing file: links/base.raw\n") {
			t.Errorf("%s: %s", args, out)
		}
		for _, name := range []string{"links/base.raw", "out.qcow2", "out.json"} {
			os.Remove(filepath.Join(dir, name))
		}
	}
	mustRun(t, dir, "create", "-q", "-b", "base.raw", "-F", "raw", "layer.qcow2")
	mustRun(t, dir, "create", "-q", "-o", "data_file=d.raw", "external.qcow2", "1M")
	for args, part := range map[string]string{
		"--standalone-source layer.qcow2 out":                                               "layer.qcow2: it has a backing file itself",
		"--standalone-source external.qcow2 out":                                            "external.qcow2: its data is in another file",
		"-O qcow2 -b layer.qcow2 -F qcow2 --standalone-backing new.raw out":                 "layer.qcow2: it has a backing file itself",
		"-O qcow2 -b base.raw --detect-backing-format -F raw new.raw out":                   "--detect-backing-format cannot be used",
		"-O qcow2 --backing-path base.raw new.raw out":                                      "--backing-path needs a backing file",
		"-O qcow2 --backing-info base.json new.raw out":                                     "--backing-info needs a backing file",
		"-O qcow2 -b base.raw -F raw --info-output out new.raw out":                         "name of two output files",
		"-O qcow2 -b ./base.raw -F raw new.raw base.raw":                                    "backing chain",
		"-O qcow2 -b base.raw --backing-info base.json --info-output base.json new.raw out": "backing chain",
		"-n --info-output x.json new.raw base.raw":                                          "--info-output needs a new target",
	} {
		mustRefuse(t, dir, []string{part}, append([]string{"convert"}, strings.Fields(args)...)...)
	}
}

// TestConvertFullDisk limits the file size at many points of the output.
func TestConvertFullDisk(t *testing.T) {
	both(t, func(t *testing.T, environment []string) {
		dir := t.TempDir()
		writeFile(t, noise(500_000), dir, "a.raw")
		mustRun(t, dir, "convert", "-O", "qcow2", "a.raw", "existing")
		before := readTree(t, dir)
		for _, format := range []string{"raw", "qcow2"} {
			for _, target := range []string{"out", "existing"} {
				for _, limit := range []int{0, 511, 65536, 200_000, 400_000} {
					cmd := program(t, dir, append(environment, fmt.Sprint(fileSizeLimit, "=", limit)), "convert", "-f", "raw", "-O", format, "a.raw", target)
					var stdout, stderr bytes.Buffer
					cmd.Stdout, cmd.Stderr = &stdout, &stderr
					cmd.Run()
					checkRefused(t, qemuimg.Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}, target+": ", "file too large")
					if diff := before.diff(readTree(t, dir)); diff != "" {
						t.Fatalf("%s with files limited to %d bytes: %s", format, limit, diff)
					}
				}
			}
		}
	})
}
