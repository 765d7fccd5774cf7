package tree

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
)

// shell makes or describes trees, so that the judge is not this package.
func shell(t testing.TB, dir, script string) string {
	t.Helper()
	cmd := exec.Command("sh", "-euc", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// describe lists what find(1) and cksum(1) see of a tree.
const describe = `
	find . -printf '%P %y %m %U:%G %T@ %l %n\n' | sort
	find . -type f -printf '%P %s %b\n' | sort
	find . -type f -exec cksum {} + | sort
	find . -samefile one 2>/dev/null | sort
	find . -type c -exec stat -c '%n %t,%T' {} +`

// needsRoot skips a test that makes devices and changes owners, which root cannot
// do in a user namespace.
func needsRoot(t *testing.T) {
	dir := t.TempDir()
	if os.Chown(dir, 1, 2) != nil || syscall.Mknod(dir+"/null", syscall.S_IFCHR, 1<<8|3) != nil {
		t.Skip("needs root, and not only in a user namespace")
	}
}

func transfer(t *testing.T, src, dst string, pack PackOptions, unpack UnpackOptions) error {
	t.Helper()
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := Pack(w, src, pack)
		w.CloseWithError(err)
		packed <- err
	}()
	err := Unpack(r, dst, unpack)
	r.CloseWithError(err)
	return errors.Join(err, <-packed)
}

func TestRoundTrip(t *testing.T) {
	needsRoot(t)
	src, dst := t.TempDir(), filepath.Join(t.TempDir(), "new", "copy")
	shell(t, src, `
		mkdir -p dir/deep/er closed empty
		echo one >one; ln one dir/two; ln one closed/three
		ln -s /etc/passwd absolute; ln -s ../one dir/relative; ln -s missing dangling
		mkfifo -m 620 fifo; mknod null c 1 3; mknod big b 259 70000
		echo secret >closed/file; chmod 4755 closed/file; chown 1:2 closed/file; chmod 6555 closed; chown 3:4 closed
		chmod 1777 empty; chown -h 5:6 dangling
		: >zero; printf 'a b\n' >'name with blanks
and a line'; echo x >"$(printf 'bytes\377')"
		truncate -s 100M sparse; echo middle | dd of=sparse bs=1 seek=50M conv=notrunc status=none
		truncate -s 10M all-hole; head -c 300000 /dev/urandom >random; truncate -s 1M random
		touch -d '1999-12-31 23:59:59.123456789' one dir zero; touch -h -d '2001-02-03' absolute
		touch -d '1960-01-01' dir/deep`)
	// A socket is left out.
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	want := shell(t, src, describe)
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: filepath.Join(src, "empty", "socket")}); err != nil {
		t.Fatal(err)
	}
	if err := transfer(t, src, dst, PackOptions{}, UnpackOptions{KeepOwner: true, Devices: true}); err != nil {
		t.Fatal(err)
	}
	got := shell(t, dst, describe)
	// The socket changed the time of its directory.
	if diff := lines(want, got); len(diff) != 1 || !strings.HasPrefix(diff[0], "empty d 1777") {
		t.Errorf("the copy differs:\n%s", strings.Join(diff, "\n"))
	}
	if got := shell(t, dst, "du -k sparse all-hole"); !strings.HasPrefix(got, "4\tsparse\n0\tall-hole") {
		t.Errorf("holes were filled: %s", got)
	}
}

// lines returns the lines of b that are not in a.
func lines(a, b string) (diff []string) {
	have := make(map[string]bool)
	for line := range strings.Lines(a) {
		have[line] = true
	}
	for line := range strings.Lines(b) {
		if !have[line] {
			diff = append(diff, line)
		}
	}
	return diff
}

// Without KeepOwner, all belongs to the caller and no program gets its rights.
func TestNoOwner(t *testing.T) {
	src, dst := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	shell(t, src, "mkdir d; echo x >d/f; chmod 4755 d/f; chmod 2555 d; chown 12:34 d d/f 2>&- || true; chmod 4755 d/f; chmod 2555 d")
	if err := transfer(t, src, dst, PackOptions{}, UnpackOptions{}); err != nil {
		t.Fatal(err)
	}
	want := shell(t, dst, `for f in d d/f; do echo "$(id -u):$(id -g)"; done`)
	if got := shell(t, dst, "stat -c %u:%g d d/f"); got != want {
		t.Errorf("owners %q, want %q", got, want)
	}
	if got := shell(t, dst, "stat -c %a d d/f"); got != "555\n755\n" {
		t.Errorf("permissions %q", got)
	}
}

func TestOneFile(t *testing.T) {
	dir := t.TempDir()
	shell(t, dir, "echo new >file; chmod 640 file; echo old >old; ln -s old link; mkdir full; echo x >full/x")
	for _, name := range []string{"copy", "missing/dir/copy", "link"} {
		if err := transfer(t, filepath.Join(dir, "file"), filepath.Join(dir, name), PackOptions{}, UnpackOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := shell(t, dir, "cat "+name+"; stat -c '%a %F' "+name); got != "new\n640 regular file\n" {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := shell(t, dir, "cat old"); got != "old\n" {
		t.Errorf("the link was followed: %q", got)
	}
	if err := transfer(t, filepath.Join(dir, "file"), filepath.Join(dir, "full"), PackOptions{}, UnpackOptions{}); err == nil {
		t.Error("a file replaced a directory that is not empty")
	}
}

// A directory that exists keeps its permissions and other files.
func TestMerge(t *testing.T) {
	dir := t.TempDir()
	shell(t, dir, "mkdir -p src/d dst/d; echo new >src/d/f; echo old >dst/d/f; echo other >dst/d/o; chmod 1777 dst; chmod 700 dst/d; chmod 755 src src/d")
	if err := transfer(t, filepath.Join(dir, "src"), filepath.Join(dir, "dst"), PackOptions{}, UnpackOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := shell(t, dir, "cd dst; cat d/f d/o; stat -c %a . d"); got != "new\nother\n1777\n700\n" {
		t.Errorf("got %q", got)
	}
}

func TestFollowLinks(t *testing.T) {
	dir := t.TempDir()
	shell(t, dir, "mkdir src real; echo a >real/a; ln -s ../real src/dir; ln -s ../real/a src/file")
	if err := transfer(t, filepath.Join(dir, "src"), filepath.Join(dir, "dst"), PackOptions{FollowLinks: true}, UnpackOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := shell(t, dir, "cd dst; find . -type f | sort; find . -type l"); got != "./dir/a\n./file\n" {
		t.Errorf("got %q", got)
	}
	shell(t, dir, "ln -s missing src/dangling")
	if err := Pack(io.Discard, filepath.Join(dir, "src"), PackOptions{FollowLinks: true}); err == nil || !strings.Contains(err.Error(), "dangling: symbolic link to a file that does not exist") {
		t.Errorf("got %v", err)
	}
	shell(t, dir, "rm src/dangling; ln -s . src/loop")
	if err := Pack(io.Discard, filepath.Join(dir, "src"), PackOptions{FollowLinks: true}); err == nil {
		t.Error("a loop of links was sent")
	}
}

func TestPackFS(t *testing.T) {
	var b bytes.Buffer
	if err := PackFS(&b, fstest.MapFS{
		"a/b/c": {Data: []byte("c"), Mode: 0o755, ModTime: time.Unix(1000, 0)},
		"d":     {Data: []byte("d"), Mode: 0o644},
	}); err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(t.TempDir(), "copy")
	if err := Unpack(&b, dst, UnpackOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := shell(t, dst, "cat a/b/c d; stat -c '%a %Y' a/b/c"); got != "cd755 1000\n" {
		t.Errorf("got %q", got)
	}
}

// procfs has files without a size and without holes.
func TestProc(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "copy")
	if err := transfer(t, "/proc/version", dst, PackOptions{}, UnpackOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := shell(t, "/", "cmp /proc/version "+dst); got != "" {
		t.Error(got)
	}
}

func TestErrors(t *testing.T) {
	if err := Pack(io.Discard, "/no/such", PackOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	var b bytes.Buffer
	if err := PackFS(&b, fstest.MapFS{"f": {Data: make([]byte, 1000)}, "g": {}}); err != nil {
		t.Fatal(err)
	}
	for cut := range b.Len() {
		err := Unpack(bytes.NewReader(b.Bytes()[:cut]), filepath.Join(t.TempDir(), "copy"), UnpackOptions{})
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("stream of %d bytes: got %v, want %v", cut, err, io.ErrUnexpectedEOF)
		}
	}
	if err := Unpack(&b, filepath.Join(t.TempDir(), "copy"), UnpackOptions{MaxBytes: 999}); err == nil || !strings.Contains(err.Error(), "more than 999 bytes") {
		t.Errorf("got %v", err)
	}
}
