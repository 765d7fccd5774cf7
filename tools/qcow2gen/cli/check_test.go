package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// TestCheckLikeQemuImg compares output and exit codes on images with each result.
// Standard error differs: QEMU words the problems in its own way.
func TestCheckLikeQemuImg(t *testing.T) {
	dir := t.TempDir()
	for _, args := range []string{
		"empty.qcow2 0", "clean.qcow2 10M", "v2.qcow2 -o compat=0.10 1G", "data.qcow2 10M", "leaks.qcow2 10M", "corrupt.qcow2 10M", "both.qcow2 10M", "unreadable.qcow2 10M",
		"name,with:é.qcow2 1M",
	} {
		name, rest, _ := strings.Cut(args, " ")
		mustRun(t, dir, append([]string{"create", "-q", "./" + name}, strings.Fields(rest)...)...)
	}
	for _, name := range []string{"data.qcow2", "both.qcow2"} {
		if r := qemuimg.IO(t, dir, name, "write 0 1M", "write 3M 1M", "write 2M 64k", "write -c 5M 128k"); r.Code != 0 {
			t.Fatal(r.Stdout, r.Stderr)
		}
	}
	const cluster = 65536
	patch(t, 2*cluster+2*7, []byte{0, 1}, dir, "leaks.qcow2")
	patch(t, 2*cluster, []byte{0, 2}, dir, "leaks.qcow2")
	patch(t, 2*cluster, []byte{0, 0}, dir, "corrupt.qcow2")
	patch(t, 2*cluster, []byte{0, 2, 0, 0, 0, 0}, dir, "both.qcow2")
	patch(t, 1*cluster, uint64Bytes(2*cluster+512), dir, "unreadable.qcow2")
	writeFile(t, "raw", dir, "disk.raw")
	writeFile(t, "QFI\xfb\x00\x00\x00\x03", dir, "short.qcow2")

	codes := map[int]bool{}
	for name := range readTree(t, dir) {
		for _, options := range []string{"", "-f qcow2", "--output=json", "--output json -q -U", "-q", "-f raw", "-U --output human"} {
			args := append([]string{"check"}, append(strings.Fields(options), "./"+name)...)
			theirs, ours := qemuimg.Run(t, dir, args...), run(t, dir, args...)
			codes[theirs.Code] = true
			if ours.Code != theirs.Code || ours.Stdout != theirs.Stdout {
				t.Errorf("%q: exit code is %d, qemu-img's is %d\n%s%s%s%s", args, ours.Code, theirs.Code, ours.Stdout, ours.Stderr, theirs.Stdout, theirs.Stderr)
			}
			if (ours.Stderr != "") != (theirs.Stderr != "") {
				t.Errorf("%q: standard error is %q, qemu-img's %q", args, ours.Stderr, theirs.Stderr)
			}
		}
	}
	for _, code := range []int{0, 1, 2, 3, 63} {
		if !codes[code] {
			t.Errorf("no image has exit code %d", code)
		}
	}
}

// TestCheckFindings checks the lines after the message.
func TestCheckFindings(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, dir, "create", "-q", "x.qcow2", "10M")
	patch(t, 2*65536, []byte{0, 2, 0, 0}, dir, "x.qcow2")
	r := run(t, dir, "check", "x.qcow2")
	want := "qcow2gen: x.qcow2: the image is corrupt, as listed below; create it again, or repair it with qemu-img check -r all\n" +
		"Leaked cluster 0 refcount=2 reference=1\n" +
		"ERROR cluster 1 refcount=0 reference=1\n"
	if r.Code != 2 || r.Stderr != want {
		t.Errorf("exit code %d, standard error %q, want %q", r.Code, r.Stderr, want)
	}
}

// TestCheckNeedsNoOtherFile checks overlays whose base is missing. qemu-img fails
// on them.
func TestCheckNeedsNoOtherFile(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, dir, "create", "-q", "-u", "-b", "missing", "-F", "qcow2", "overlay.qcow2", "1G")
	mustRun(t, dir, "create", "-q", "-o", "data_file=data", "data.qcow2", "1M")
	if err := qemuimg.Run(t, dir, "check", "overlay.qcow2"); err.Code != 1 {
		t.Errorf("qemu-img check does not need the base (exit code %d)", err.Code)
	}
	for _, name := range []string{"overlay.qcow2", "data.qcow2"} {
		if out := mustRun(t, dir, "check", name); !strings.HasPrefix(out, "No errors were found") {
			t.Errorf("%s: %s", name, out)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, dir, "create", "-q", "x.qcow2", "1M")
	for args, parts := range map[string][]string{
		"":                       {"one image file name", "0"},
		"x.qcow2 y.qcow2":        {"one image file name", "2"},
		"missing.qcow2":          {"missing.qcow2", "no such file"},
		".":                      {".: "},
		"nbd:x":                  {"nbd:x", `"nbd"`},
		"--output=xml x.qcow2":   {"--output", "xml", "human", "json"},
		"-r all x.qcow2":         {"--repair", "does not write"},
		"--repair=leaks x.qcow2": {"--repair"},
		"--image-opts x":         {"--image-opts", "not supported"},
		"--object a x.qcow2":     {"--object"},
		"-T none x.qcow2":        {"--cache"},
	} {
		mustRefuse(t, dir, parts, append([]string{"check"}, strings.Fields(args)...)...)
	}
}

// TestCheckInUse checks an image that QEMU has open, for reading and for writing.
// Only the second is an error.
func TestCheckInUse(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, dir, "create", "-q", "x.qcow2", "1M")
	f, err := os.OpenFile(filepath.Join(dir, "x.qcow2"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, offset := range []int64{100, 101} {
		const setOpenFileLock = 37 // F_OFD_SETLK
		lock := syscall.Flock_t{Type: syscall.F_RDLCK, Start: offset, Len: 1}
		if err := syscall.FcntlFlock(f.Fd(), setOpenFileLock, &lock); err != nil {
			t.Fatal(err)
		}
		for _, options := range []string{"-q", "-qU"} {
			theirs, ours := qemuimg.Run(t, dir, "check", options, "x.qcow2"), run(t, dir, "check", options, "x.qcow2")
			if ours.Code != theirs.Code {
				t.Errorf("check %s with byte %d locked: exit code is %d, qemu-img's is %d: %s%s", options, offset, ours.Code, theirs.Code, ours.Stderr, theirs.Stderr)
			}
		}
	}
	mustRefuse(t, dir, []string{"x.qcow2: ", "writing", "-U"}, "check", "x.qcow2")
}

func TestCheckReport(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, dir, "create", "-q", "good.qcow2", "1G")
	want := mustRun(t, dir, "check", "good.qcow2")
	if out := mustRun(t, dir, "check", "--report-output=report", "good.qcow2"); out != "" {
		t.Errorf("standard output contains the report too: %q", out)
	}
	if got := readFile(t, dir, "report"); got != want {
		t.Errorf("report is %q, want %q", got, want)
	}

	// The reference count of the header cluster is at the start of cluster 2.
	image := []byte(readFile(t, dir, "good.qcow2"))
	image[2*65536+1] = 0
	writeFile(t, string(image), dir, "bad.qcow2")
	if r := run(t, dir, "check", "--report-output=bad report", "bad.qcow2"); r.Code != 2 || !strings.Contains(r.Stdout, "errors were found") {
		t.Errorf("check of a corrupt image exits with %d and prints %q", r.Code, r.Stdout)
	}
	if _, err := os.Stat(filepath.Join(dir, "bad report")); err == nil {
		t.Error("a corrupt image has a report")
	}
}
