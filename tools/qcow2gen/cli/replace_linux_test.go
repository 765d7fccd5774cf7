package cli_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/need"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
	"github.com/rules-qcow2/rules_qcow2/internal/smallfs"
)

const (
	accessList  = "system.posix_acl_access"
	defaultList = "system.posix_acl_default"
)

func init() {
	attributesOf = func(path string) string {
		names := make([]byte, 4096)
		n, err := syscall.Listxattr(path, names)
		if err != nil {
			return err.Error()
		}
		var all []string
		for name := range strings.SplitSeq(string(names[:n]), "\x00") {
			value := make([]byte, 4096)
			if n, err := syscall.Getxattr(path, name, value); err == nil {
				all = append(all, fmt.Sprintf("%s=%q", name, value[:n]))
			}
		}
		slices.Sort(all)
		return fmt.Sprint(all)
	}
	replaceCases = append(replaceCases,
		replaceCase{"extended attribute", false, false, func(t *testing.T, path string) {
			existing(0o600)(t, path)
			setAttribute(t, path, "user.note", "kept")
			setAttribute(t, path, "user.empty", "")
		}},
		replaceCase{"access control list", false, false, func(t *testing.T, path string) {
			existing(0o640)(t, path)
			setAttribute(t, path, accessList, list)
		}},
		replaceCase{"default list of the folder", false, false, func(t *testing.T, path string) {
			existing(0o640)(t, path) // before: it does not have the list
			setAttribute(t, filepath.Dir(path), defaultList, list)
		}},
	)
}

// list is an access control list in the kernel's format: version 2, then tag,
// permissions and user of each entry. It names a user, this one, because a user
// namespace may not have others.
var list = "\x02\x00\x00\x00" +
	"\x01\x00\x06\x00\xff\xff\xff\xff" + // owner: rw
	"\x02\x00\x06\x00" + string(binary.LittleEndian.AppendUint32(nil, uint32(os.Getuid()))) + // rw
	"\x04\x00\x04\x00\xff\xff\xff\xff" + // group: r
	"\x10\x00\x06\x00\xff\xff\xff\xff" + // mask: rw
	"\x20\x00\x00\x00\xff\xff\xff\xff" // others: nothing

func setAttribute(t *testing.T, path, name, value string) {
	t.Helper()
	err := syscall.Setxattr(path, name, []byte(value), 0)
	if errors.Is(err, syscall.ENOTSUP) {
		t.Skipf("the file system does not support %s", name)
	}
	check(t, err)
}

// nobody is a user without rights.
const nobody = 65534

// asNobody makes cmd run as nobody. The test is skipped if that is impossible.
func asNobody(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can run a program as another user")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

// TestReplaceAsNobody runs qcow2gen as a user who may write the file, but may not
// replace it by a file with the same properties. It compares with qemu-img, if that
// user can run it.
func TestReplaceAsNobody(t *testing.T) {
	owned := func(uid int, folder os.FileMode) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			existing(0o666)(t, path)
			chown(t, path, uid, uid)
			check(t, os.Chmod(filepath.Dir(path), folder))
		}
	}
	for _, c := range []replaceCase{
		{"read-only folder", true, true, owned(nobody, 0o555)},
		{"sticky folder", true, true, owned(0, 0o777|os.ModeSticky)},
		{"file of root", true, true, owned(0, 0o777)},
		{"own file", true, false, owned(nobody, 0o777)},
		{"group of root", true, true, func(t *testing.T, path string) {
			owned(nobody, 0o777)(t, path)
			chown(t, path, nobody, 0)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, environment []string) {
				ours, theirs, bin := t.TempDir(), t.TempDir(), t.TempDir()
				check(t, os.Chmod(filepath.Dir(ours), 0o755))
				for _, dir := range []string{ours, theirs} {
					if os.Getuid() == 0 {
						c.prepare(t, filepath.Join(dir, "f"))
					}
				}
				check(t, os.Chmod(bin, 0o777))
				self := program(t, ours, append(environment, "TMPDIR="+bin), "create", "-q", "f", "1M")
				asNobody(t, self)
				copyFile(t, self.Path, filepath.Join(bin, "qcow2gen"))
				self.Path = filepath.Join(bin, "qcow2gen")
				before := inode(t, filepath.Join(ours, "f"))
				out, err := self.CombinedOutput()
				if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
					t.Skipf("cannot run a program as user %d: %v", nobody, err)
				}
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				if kept := inode(t, filepath.Join(ours, "f")) == before; kept != c.inPlace {
					t.Errorf("the inode is kept: %v, want %v", kept, c.inPlace)
				}
				if files, err := os.ReadDir(bin); err != nil || len(files) != 1 {
					t.Errorf("temporary files are left: %v (%v)", files, err)
				}
				qemu := exec.Command(qemuimg.Path(t), "create", "-q", "-f", "qcow2", "f", "1M")
				asNobody(t, qemu)
				qemu.Dir = theirs
				if out, err := qemu.CombinedOutput(); err != nil {
					// fs.protected_regular keeps qemu-img, which opens with O_CREAT,
					// from writing in a sticky folder.
					t.Logf("user %d cannot run qemu-img, so root does: %v: %s", nobody, err, out)
					qemuimg.Must(t, theirs, "create", "-q", "-f", "qcow2", "f", "1M")
				}
				if got, want := state(t, ours), state(t, theirs); got != want {
					t.Errorf("the files are\n%swith qemu-img they are\n%s", got, want)
				}
			})
		})
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	check(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o755)
	check(t, err)
	_, err = io.Copy(out, in)
	check(t, errors.Join(err, out.Close()))
}

// smallDirVariable names the folder of a small file system to the process that sees it.
const smallDirVariable = "QCOW2GEN_TEST_SMALL_DIR"

// inSmallFS runs test in a process of its own, which may mount, in the folder of a file
// system with size bytes.
func inSmallFS(t *testing.T, size string, test func(dir string)) {
	if dir := os.Getenv(smallDirVariable); dir != "" {
		test(dir)
		return
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	// Bazel's shards do not concern a process that runs one test.
	cmd.Env = append(os.Environ(), smallDirVariable+"="+dir, "TEST_TOTAL_SHARDS=")
	smallfs.Mount(t, cmd, dir, size)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skip(string(out))
	}
}

// TestReplaceBindMount creates an image onto a file that is a mount point, as in a
// container.
func TestReplaceBindMount(t *testing.T) {
	inSmallFS(t, "64m", func(dir string) {
		mounted := replaceCase{"bind mount", false, true, func(t *testing.T, path string) {
			existing(0o600)(t, path)
			existing(0o640)(t, path+".source")
			if err := syscall.Mount(path+".source", path, "", syscall.MS_BIND, ""); err != nil {
				need.Skip(t, "cannot mount: %v", err)
			}
			t.Cleanup(func() { syscall.Unmount(path, 0) })
		}}
		n := 0
		both(t, func(t *testing.T, _ []string) {
			n++
			ours, theirs := filepath.Join(dir, fmt.Sprint("ours", n)), filepath.Join(dir, fmt.Sprint("theirs", n))
			check(t, os.Mkdir(ours, 0o755))
			check(t, os.Mkdir(theirs, 0o755))
			compareReplace(t, mounted, ours, theirs)
		})
	})
}

// TestReplaceFullDisk makes the copy into an existing file fail. The error says that
// the old contents are lost.
func TestReplaceFullDisk(t *testing.T) {
	const pages = 300 // of 4 KiB: for the temporary file, and not for a second one
	inSmallFS(t, fmt.Sprint(pages*4096), func(dir string) {
		source := filepath.Join(t.TempDir(), "source.raw")
		writeFile(t, noise(200*4096), source)
		path := filepath.Join(dir, "f")
		existing(0o600)(t, path)
		check(t, os.Link(path, path+".other"))
		r := run(t, dir, "convert", "-f", "raw", "-O", "raw", source, "f")
		checkRefused(t, r, "f: f cannot be written: it was written in place, its old contents are lost, and it is empty now: no space left on device")
		want := tree{"f": "", "f.other": ""}
		if diff := want.diff(readTree(t, dir)); diff != "" {
			t.Error(diff)
		}
	})
}
