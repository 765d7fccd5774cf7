package cli_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// A replaceCase prepares the existing file at path, in an empty folder.
type replaceCase struct {
	name     string
	rootOnly bool
	inPlace  bool // the inode stays
	prepare  func(t *testing.T, path string)
}

var replaceCases = []replaceCase{
	{"mode 0600", false, false, existing(0o600)},
	{"mode 0666", false, false, existing(0o666)},
	{"mode 0755", false, false, existing(0o755)},
	{"mode 0440", false, false, existing(0o440)}, // refused, unless by root
	{"mode 4755", true, false, func(t *testing.T, path string) {
		existing(0o755)(t, path)
		chown(t, path, 1000, 1001)
		check(t, os.Chmod(path, 0o755|os.ModeSetuid))
	}},
	{"owner", true, false, func(t *testing.T, path string) {
		existing(0o640)(t, path)
		chown(t, path, 1000, 1001)
	}},
	{"group of the folder", true, false, func(t *testing.T, path string) {
		dir := filepath.Dir(path)
		chown(t, dir, 0, 1001)
		check(t, os.Chmod(dir, 0o755|os.ModeSetgid))
		existing(0o640)(t, path)
		chown(t, path, 0, 0)
	}},
	{"hard link", false, true, func(t *testing.T, path string) {
		existing(0o640)(t, path)
		check(t, os.Link(path, path+".other"))
	}},
	{"symbolic link", false, false, func(t *testing.T, path string) {
		existing(0o600)(t, path+".target")
		check(t, os.Symlink(filepath.Base(path)+".target", path))
	}},
	{"read-only folder", false, os.Getuid() != 0, func(t *testing.T, path string) {
		existing(0o600)(t, path)
		dir := filepath.Dir(path)
		check(t, os.Chmod(dir, 0o555))
		t.Cleanup(func() { os.Chmod(dir, 0o755) })
	}},
}

// existing returns a function that creates a file with mode.
func existing(mode os.FileMode) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		writeFile(t, "old", path)
		check(t, os.Chmod(path, mode))
	}
}

// chown skips the test in a sandbox whose root may not change owners.
func chown(t *testing.T, path string, uid, gid int) {
	t.Helper()
	if err := os.Chown(path, uid, gid); err != nil {
		t.Skip(err)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// attributesOf returns the extended attributes of a file, on Linux.
var attributesOf = func(path string) string { return "" }

// state describes all files in dir: everything that qemu-img keeps, and the contents.
func state(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	files := readTree(t, dir)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		info, err := os.Lstat(filepath.Join(dir, name))
		check(t, err)
		stat := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%s: %v, owner %d:%d, %d links, %d bytes, attributes %s, contents %.40q\n",
			name, info.Mode(), stat.Uid, stat.Gid, stat.Nlink, info.Size(), attributesOf(filepath.Join(dir, name)), files[name])
	}
	return b.String()
}

func inode(t testing.TB, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	check(t, err)
	return uint64(info.Sys().(*syscall.Stat_t).Ino)
}

// TestReplace creates an image onto an existing file, with qemu-img as well. The file
// must have the same properties and contents afterwards.
func TestReplace(t *testing.T) {
	for _, c := range replaceCases {
		t.Run(c.name, func(t *testing.T) {
			if c.rootOnly && os.Getuid() != 0 {
				t.Skip("only root can change the owner of a file")
			}
			both(t, func(t *testing.T, _ []string) { compareReplace(t, c, t.TempDir(), t.TempDir()) })
		})
	}
}

func compareReplace(t *testing.T, c replaceCase, ours, theirs string) {
	for _, dir := range []string{ours, theirs} {
		check(t, os.Chmod(dir, 0o755))
		c.prepare(t, filepath.Join(dir, "f"))
	}
	path := filepath.Join(ours, "f")
	before := inode(t, path)
	got := run(t, ours, "create", "-q", "f", "1M")
	want := qemuimg.Run(t, theirs, "create", "-q", "-f", "qcow2", "f", "1M")
	if got.Code != want.Code {
		t.Errorf("exit code is %d (%s), qemu-img's is %d (%s)", got.Code, got.Stderr, want.Code, want.Stderr)
	}
	if got, want := state(t, ours), state(t, theirs); got != want {
		t.Errorf("the files are\n%swith qemu-img they are\n%s", got, want)
	}
	if kept := inode(t, path) == before; want.Code == 0 && kept != c.inPlace {
		t.Errorf("the inode is kept: %v, want %v", kept, c.inPlace)
	}
}

// TestReplaceUmask checks that the umask applies to new files only, and that a new
// file has the group of a setgid folder.
func TestReplaceUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	none := func(t *testing.T, path string) {}
	for _, c := range []replaceCase{
		{"existing", false, false, existing(0o644)},
		{"new", false, false, none},
		{"new in a setgid folder", true, false, func(t *testing.T, path string) {
			chown(t, filepath.Dir(path), 0, 1001)
			check(t, os.Chmod(filepath.Dir(path), 0o755|os.ModeSetgid))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.rootOnly && os.Getuid() != 0 {
				t.Skip("only root can give a folder any group")
			}
			both(t, func(t *testing.T, _ []string) {
				ours, theirs := t.TempDir(), t.TempDir()
				for _, dir := range []string{ours, theirs} {
					c.prepare(t, filepath.Join(dir, "f"))
				}
				mustRun(t, ours, "create", "-q", "f", "1M")
				qemuimg.Must(t, theirs, "create", "-q", "-f", "qcow2", "f", "1M")
				if got, want := state(t, ours), state(t, theirs); got != want {
					t.Errorf("the files are\n%swith qemu-img they are\n%s", got, want)
				}
			})
		})
	}
}

// TestReplaceAll replaces all kinds of output files, by a rename and, if they have
// hard links, in place. They must have the contents of new files, and their holes.
func TestReplaceAll(t *testing.T) {
	create := func(t *testing.T, dir string) {
		mustRun(t, dir, "create", "-q", "-o", "data_file=d.raw,data_file_raw=on", "--info-output=t.json", "t.qcow2", "32M")
		mustRun(t, dir, "create", "-q", "source.qcow2", "1M")
		mustRun(t, dir, "convert", "-O", "qcow2", "source.qcow2", "converted.qcow2")
		mustRun(t, dir, "check", "--report-output=report", "source.qcow2")
	}
	both(t, func(t *testing.T, _ []string) {
		fresh := t.TempDir()
		create(t, fresh)
		want := readTree(t, fresh)
		for _, links := range []bool{false, true} {
			dir, others := t.TempDir(), t.TempDir()
			for name := range want {
				path := filepath.Join(dir, name)
				writeFile(t, strings.Repeat("old", 1<<20), path)
				check(t, os.Chmod(path, 0o600))
				if links {
					check(t, os.Link(path, filepath.Join(others, name)))
				}
			}
			create(t, dir)
			if diff := want.diff(readTree(t, dir)); diff != "" {
				t.Errorf("with links %v: %s", links, diff)
			}
			for name := range want {
				info, err := os.Stat(filepath.Join(dir, name))
				check(t, err)
				if info.Mode() != 0o600 {
					t.Errorf("with links %v: mode of %s is %v, want 0600", links, name, info.Mode())
				}
				if stat := info.Sys().(*syscall.Stat_t); (stat.Nlink > 1) != links || stat.Blocks*512 > 1<<20 {
					t.Errorf("with links %v: %s has %d links and takes %d bytes", links, name, stat.Nlink, stat.Blocks*512)
				}
			}
		}
	})
}

// TestReplaceByCommit compares the image that commit empties with qemu-img's.
func TestReplaceByCommit(t *testing.T) {
	for _, c := range replaceCases {
		t.Run(c.name, func(t *testing.T) {
			if c.rootOnly && os.Getuid() != 0 {
				t.Skip("only root can change the owner of a file")
			}
			ours, theirs := t.TempDir(), t.TempDir()
			base := filepath.Join(t.TempDir(), "base.qcow2")
			qemuimg.Must(t, ours, "create", "-q", "-f", "qcow2", base, "1M")
			for _, dir := range []string{ours, theirs} {
				path := filepath.Join(dir, "f")
				c.prepare(t, path)
				if info, err := os.Stat(path); err != nil || info.Mode()&0o200 == 0 {
					t.Skip("the image is read-only")
				}
				qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", "f")
			}
			before := inode(t, filepath.Join(ours, "f"))
			mustRun(t, ours, "commit", "-q", "f")
			qemuimg.Must(t, theirs, "commit", "-q", "f")
			qemuimg.Must(t, ours, "check", "-q", "f")
			got, want := withoutSizes(state(t, ours)), withoutSizes(state(t, theirs))
			if got != want {
				t.Errorf("the files are\n%swith qemu-img they are\n%s", got, want)
			}
			if kept := inode(t, filepath.Join(ours, "f")) == before; kept != c.inPlace {
				t.Errorf("the inode is kept: %v, want %v", kept, c.inPlace)
			}
		})
	}
}

// withoutSizes removes lengths and contents from a state: qemu-img leaves free
// clusters in an image that it empties.
func withoutSizes(state string) string {
	var b strings.Builder
	for line := range strings.Lines(state) {
		properties, _, _ := strings.Cut(line, " links, ")
		_, attributes, _ := strings.Cut(line, " bytes, ")
		attributes, _, _ = strings.Cut(attributes, ", contents ")
		fmt.Fprintln(&b, properties, attributes)
	}
	return b.String()
}

// TestTemporaryIsPrivate checks that nobody but the owner can read the temporary file
// that will replace a private one. The file may be gone before the test sees it, so it
// tries again.
func TestTemporaryIsPrivate(t *testing.T) {
	dir := t.TempDir()
	existing(0o600)(t, filepath.Join(dir, "t.qcow2"))
	for range 20 {
		if seen := watchTemporary(t, dir); seen > 0 {
			return
		}
	}
	t.Error("no temporary file was seen")
}

// watchTemporary replaces t.qcow2 in dir, and returns how often it saw a temporary file.
func watchTemporary(t *testing.T, dir string) (seen int) {
	cmd := program(t, dir, []string{namedTemporary + "=1"}, createArgs(slowImage+"512M")...)
	check(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			check(t, err)
			return seen
		default:
		}
		entries, err := os.ReadDir(dir)
		check(t, err)
		for _, entry := range entries {
			info, err := entry.Info()
			if err != nil {
				continue // it has its final name
			}
			if entry.Name() != "t.qcow2" {
				seen++
			}
			if info.Mode() != 0o600 {
				t.Errorf("%s has mode %v, want 0600", entry.Name(), info.Mode())
			}
		}
	}
}
