package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/need"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// calls are calls of qemu-img convert, rebase and commit, one per line. They are the
// calls for qcow2 in QEMU's own test scripts (tests/qemu-iotests, by number), with
// the images that makeCallImages makes, and calls for the rest of the command line.
//
// qemu-img decides at test time which calls are valid. After "=>" is a part of the
// message for a call that qemu-img accepts and qcow2gen refuses.
const calls = `# 122
convert -O qcow2 -B base.qcow2 -o backing_fmt=qcow2 t.qcow2 out
convert -O qcow2 -B base.qcow2 -F qcow2 zero.qcow2 out
convert -O qcow2 -c -B base.qcow2 -o backing_fmt=qcow2 zero.qcow2 out
convert -O qcow2 -B base.qcow2 -o backing_fmt=qcow2 zeroed.qcow2 out
convert -O qcow2 -c -B base.qcow2 -o backing_fmt=qcow2 zeroed.qcow2 out
convert -O qcow2 -B base.qcow2 -o compat=0.10 -o backing_fmt=qcow2 larger.qcow2 out
convert -O qcow2 odd.qcow2 base.qcow2 out  => several sources
convert -O qcow2 -B base.qcow2 odd.qcow2 base.qcow2 out
convert -c -O qcow2 odd.qcow2 out
convert -O qcow2 -S 0 t.qcow2 out
convert -O qcow2 -c -S 0 t.qcow2 out
convert -O qcow2 -S 0 -B base.qcow2 -F qcow2 t.qcow2 out
convert -O qcow2 -o cluster_size=1k -S 4k odd.qcow2 out
convert -O qcow2 -o cluster_size=1k -c -S 8k odd.qcow2 out
convert -O qcow2 -n empty.qcow2 base.qcow2
convert -O qcow2 -n empty.qcow2 t.qcow2
convert -O qcow2 -n t.qcow2 v2.qcow2
convert -O qcow2 -n --target-is-zero t.qcow2 empty.qcow2
convert -O qcow2 -B base.qcow2 -n t.qcow2 empty.qcow2  => -b has no effect
convert -O qcow2 -o preallocation=metadata -n t.qcow2 base.qcow2

# convert
convert t.qcow2 out
convert -f qcow2 -O raw t.qcow2 out
convert -f raw -O qcow2 odd.raw out
convert -O raw odd.raw out
convert -O qcow2 -o compat=0.10,cluster_size=4k odd.raw out
convert -O qcow2 -o extended_l2=on,compression_type=zstd -c odd.raw out
convert -c -O qcow2 -o compression_type=foo odd.raw out
convert -O qcow2 -o size=3M odd.qcow2 out  => use at least that
convert -l one snap.qcow2 out
convert -l 1 snap.qcow2 out
convert -l snapshot.id=1 snap.qcow2 out
convert -l snapshot.name=one snap.qcow2 out
convert -l snapshot.name=two snap.qcow2 out
convert -l two snap.qcow2 out
convert -l one odd.raw out
convert -p t.qcow2 out
convert -p -q t.qcow2 out
convert -q -U -W -m 16 -T none -t writeback -O qcow2 t.qcow2 out
convert -m 17 t.qcow2 out
convert -m 0 t.qcow2 out
convert -m x t.qcow2 out
convert -T foo t.qcow2 out
convert -t foo t.qcow2 out
convert -S 5 t.qcow2 out
convert -S 32M t.qcow2 out
convert -S foo t.qcow2 out
convert -r 1M t.qcow2 out  => --rate-limit
convert -r foo t.qcow2 out
convert -C t.qcow2 out
convert --salvage t.qcow2 out  => --salvage
convert --bitmaps -O qcow2 t.qcow2 out  => --bitmaps
convert --bitmaps -O qcow2 bitmap.qcow2 out  => --bitmaps
convert --skip-broken-bitmaps t.qcow2 out
convert --target-is-zero t.qcow2 out
convert -n t.qcow2 out
convert -n t.qcow2 full.raw
convert -n full.raw odd.raw
convert -n -O qcow2 base.qcow2 odd.qcow2
convert -O raw -B base.qcow2 -F qcow2 t.qcow2 out
convert -O raw -c t.qcow2 out
convert -O qcow2 -b base.qcow2 t.qcow2 out
convert -O qcow2 -F qcow2 t.qcow2 out
convert -O qcow2 -b nope -F raw t.qcow2 out
convert -O foo t.qcow2 out
convert -O vmdk t.qcow2 out  => target format
convert -f foo t.qcow2 out
convert -f qcow2 odd.raw out
convert nope out
convert t.qcow2 t.qcow2
convert base.qcow2 t.qcow2
convert t.qcow2 base.qcow2
convert t.qcow2 nope/out
convert t.qcow2 sub
convert t.qcow2
convert
convert -Z t.qcow2 out
convert -o preallocation=off t.qcow2 out
convert -o cluster_size=4k t.qcow2 out
convert -O qcow2 -o preallocation=metadata odd.raw out  => preallocation
convert -O qcow2 -c -o preallocation=metadata odd.raw out
convert -O qcow2 -o data_file=d.raw odd.raw out  => data_file
convert -O qcow2 -o lazy_refcounts=on,refcount_bits=1 odd.raw out
convert -O qcow2 file:t.qcow2 file:out
convert --source-format qcow2 --target-format=qcow2 -c --target-format-options cluster_size=4k t.qcow2 out

# 024 rebase
rebase -b new.qcow2 -F qcow2 t.qcow2
rebase -f qcow2 -b new.qcow2 -F qcow2 sub/overlay.qcow2
rebase -f qcow2 -b other.qcow2 -F qcow2 sub/overlay.qcow2
rebase -b new.qcow2 -F qcow2 zero.qcow2
rebase -b new.qcow2 -F qcow2 larger.qcow2

# 028 161 tests/rebase
rebase -b "" t.qcow2
rebase -b base.qcow2 -F qcow2 top.qcow2
rebase -b odd.raw -F raw t.qcow2
rebase -b base.qcow2 -F qcow2 empty.qcow2
rebase -c -b new.qcow2 -F qcow2 t.qcow2
rebase -p -b new.qcow2 -F qcow2 t.qcow2
rebase -q -p -b new.qcow2 -B qcow2 t.qcow2
rebase -U -t none -T none -b new.qcow2 -F qcow2 t.qcow2
rebase -u -b nope -F raw t.qcow2
rebase -u -b "" t.qcow2
rebase -u t.qcow2
rebase -u -b new.qcow2 t.qcow2
rebase -b new.qcow2 t.qcow2
rebase t.qcow2
rebase -b nope -F raw t.qcow2
rebase -b new.qcow2 -F foo t.qcow2
rebase -u -b new.qcow2 -F foo t.qcow2
rebase -b t.qcow2 -F qcow2 t.qcow2
rebase -b top.qcow2 -F qcow2 base.qcow2
rebase -b new.qcow2 -F qcow2 odd.raw
rebase -f raw -b new.qcow2 -F qcow2 odd.raw
rebase -b new.qcow2 -F qcow2 t.qcow2 x
rebase -b new.qcow2 -F qcow2
rebase -t foo -b new.qcow2 -F qcow2 t.qcow2
rebase -b new.qcow2 -F qcow2 snap.qcow2  => internal snapshots
rebase -b new.qcow2 -F qcow2 bitmap.qcow2  => bitmaps
rebase -b new.qcow2 -F qcow2 nope
rebase -Z -b new.qcow2 t.qcow2

# 097 020 274 commit
commit top.qcow2
commit -b mid.qcow2 top.qcow2
commit -d top.qcow2
commit -b base.qcow2 top.qcow2
commit longer.qcow2
commit larger.qcow2
commit t.qcow2
commit zero.qcow2
commit zeroed.qcow2
commit -p t.qcow2
commit -q -p t.qcow2
commit -t none t.qcow2
commit -t foo t.qcow2
commit -r 1M t.qcow2  => --rate-limit
commit -b odd.raw t.qcow2
commit base.qcow2
commit odd.raw
commit -f raw t.qcow2
commit onraw.qcow2
commit snap.qcow2  => internal snapshots
commit sub/overlay.qcow2
commit nope
commit
commit t.qcow2 x
commit -Z t.qcow2
`

// makeCallImages makes the images of calls.
func makeCallImages(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o777); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"odd.raw": strings.Repeat("odd", 100_000), "full.raw": strings.Repeat("full", 4<<20)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, image := range []struct{ create, write string }{
		{"base.qcow2 8M", "write -P 0x11 0 6M"},
		{"new.qcow2 8M", "write -P 0x22 1M 6M"},
		{"empty.qcow2 8M", ""},
		{"odd.qcow2 4193792 -o cluster_size=1k", "write -P 0x33 130k 130k|write -P 0x44 4092k 1k|write 8k 1k"},
		{"t.qcow2 -b base.qcow2 -F qcow2", "write -P 0x22 0 3M"},
		{"v2.qcow2 -b base.qcow2 -F qcow2 -o compat=0.10", "write -P 0x55 5M 64k"},
		{"zero.qcow2 -b base.qcow2 -F qcow2", "write -P 0 0 3M"},
		{"zeroed.qcow2 -b base.qcow2 -F qcow2 -o extended_l2=on", "write -z 0 3M"},
		{"larger.qcow2 -b base.qcow2 -F qcow2 768M", "write -P 0x22 600M 1M"},
		{"mid.qcow2 -b base.qcow2 -F qcow2 4M", "write -P 2 64k 128k"},
		{"top.qcow2 -b mid.qcow2 -F qcow2 4M", "write -P 3 128k 64k|write -c -P 4 1M 64k"},
		{"longer.qcow2 -b mid.qcow2 -F qcow2 8M", "write -P 3 192k 64k"},
		{"onraw.qcow2 -b odd.raw -F raw 1M", "write -P 3 192k 64k|write -z 900k 32k"},
		{"snap.qcow2 -b base.qcow2 -F qcow2 8M", "write -P 3 192k 64k"},
		{"bitmap.qcow2 8M", "write -P 3 192k 64k"},
		{"sub/other.qcow2 1M", "write -P 0x22 64k 128k|write -P 0x11 192k 64k"},
		{"sub/new.qcow2 1M", "write -P 0x22 64k 128k|write -P 0x11 192k 64k"},
		{"sub/base.qcow2 1M", "write -P 0x11 0 128k|write -P 0x11 192k 64k"},
		{"sub/overlay.qcow2 -b base.qcow2 -F qcow2", ""},
	} {
		args := strings.Fields(image.create)
		qemuimg.Must(t, dir, append([]string{"create", "-q", "-f", "qcow2"}, args...)...)
		if image.write == "" {
			continue
		}
		if r := qemuimg.IO(t, dir, args[0], strings.Split(image.write, "|")...); r.Code != 0 {
			t.Fatal(r)
		}
	}
	qemuimg.Must(t, dir, "snapshot", "-c", "one", "snap.qcow2")
	qemuimg.Must(t, dir, "bitmap", "--add", "bitmap.qcow2", "b")
	qemuimg.IO(t, dir, "snap.qcow2", "write -P 4 0 1M")
}

var percent = regexp.MustCompile(`    \(\d+\.\d\d/100%\)\r`)

// TestCallsLikeQemuImg runs each call on copies of the same images, with qemu-img and
// with qcow2gen. Exit code, output and all images must be the same.
func TestCallsLikeQemuImg(t *testing.T) {
	template := filepath.Join(t.TempDir(), "images")
	if err := os.Mkdir(template, 0o777); err != nil {
		t.Fatal(err)
	}
	makeCallImages(t, template)
	copyImages := func() string {
		dir := filepath.Join(t.TempDir(), "copy")
		if out, err := exec.Command("cp", "-a", "--sparse=always", template, dir).CombinedOutput(); err != nil {
			t.Fatalf("cp: %v: %s", err, out)
		}
		return dir
	}
	older := regexp.MustCompile(`^qemu-img version ([0-9]|10)\.`).MatchString(qemuimg.Run(t, template, "--version").Stdout)
	for line := range strings.Lines(calls) {
		line, refused, _ := strings.Cut(strings.TrimSpace(line), "  => ")
		if line == "" || line[0] == '#' {
			continue
		}
		t.Run(line, func(t *testing.T) {
			var args []string
			for _, arg := range strings.Fields(line) {
				args = append(args, strings.Trim(arg, `"`))
			}
			a, b := copyImages(), copyImages()
			defer os.RemoveAll(a)
			defer os.RemoveAll(b)
			theirs := qemuimg.Run(t, a, args...)
			t.Chdir(b)
			ours := qcow2gen(args...)
			if older && ours.Code == 0 && strings.Contains(theirs.Stderr, "unrecognized option") {
				need.Skip(t, "only qemu-img 11 and newer has the option")
			}
			if ours.Code != 0 && (!strings.HasPrefix(ours.Stderr, "qcow2gen: ") || strings.Count(ours.Stderr, "\n") != 1 || strings.Contains(ours.Stderr, ": qcow2: ")) {
				t.Errorf("error is not one sentence: %q", ours.Stderr)
			}
			if refused != "" {
				if theirs.Code != 0 || ours.Code == 0 || !strings.Contains(ours.Stderr, refused) {
					t.Errorf("want a refusal with %q of a call that qemu-img accepts: %+v, qemu-img: %+v", refused, ours, theirs)
				}
				compareDirs(t, template, b)
				return
			}
			if ours.Code != theirs.Code || len(percent.FindAllString(ours.Stdout, 2)) != len(percent.FindAllString(theirs.Stdout, 2)) ||
				percent.ReplaceAllString(ours.Stdout, "") != percent.ReplaceAllString(theirs.Stdout, "") {
				t.Fatalf("%+v, qemu-img: %+v", ours, theirs)
			}
			if ours.Code != 0 {
				compareDirs(t, template, b)
				return
			}
			compareDirs(t, a, b)
		})
	}
}

// compareDirs compares two directories. qemu-img compares images with other bytes:
// contents, size and backing file.
func compareDirs(t *testing.T, want, got string) {
	t.Helper()
	names := func(dir string) (names []string) {
		filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				names = append(names, strings.TrimPrefix(path, dir))
			}
			return err
		})
		return names
	}
	wantNames, gotNames := names(want), names(got)
	if strings.Join(wantNames, " ") != strings.Join(gotNames, " ") {
		t.Errorf("files are %q, want %q", gotNames, wantNames)
	}
	for _, name := range wantNames {
		a, errA := os.ReadFile(want + name)
		b, errB := os.ReadFile(got + name)
		if err := errors.Join(errA, errB); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(a, b) {
			continue
		}
		format := "qcow2"
		if !bytes.HasPrefix(a, []byte("QFI\xfb")) {
			format = "raw"
		}
		if r := qemuimg.Run(t, got, "compare", "-f", format, "-F", format, want+name, got+name); r.Code != 0 || r.Stdout != "Images are identical.\n" {
			t.Errorf("%s: %+v", name, r)
		}
		if format != "qcow2" {
			continue
		}
		backing := regexp.MustCompile(`(?m)^(backing|virtual).*`)
		wantInfo, gotInfo := qemuimg.Must(t, want, "info", want+name), qemuimg.Must(t, got, "info", got+name)
		wantInfo, gotInfo = strings.ReplaceAll(wantInfo, want, ""), strings.ReplaceAll(gotInfo, got, "")
		if a, b := backing.FindAllString(wantInfo, -1), backing.FindAllString(gotInfo, -1); !slices.Equal(a, b) {
			t.Errorf("%s: info is %q, want %q", name, b, a)
		}
		if r := qemuimg.Run(t, got, "check", got+name); r.Code != 0 {
			t.Errorf("%s: check: %+v", name, r)
		}
	}
}
