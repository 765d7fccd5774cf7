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
	if !privileged(t) {
		// A user, or root in a sandbox with a user namespace.
		script = "chown() { :; }; mknod() { :; }; " + script
	}
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

// privileged reports whether this process may make devices and change owners.
// Without that, the tests leave those out.
func privileged(t testing.TB) bool {
	t.Helper()
	path := filepath.Join(t.TempDir(), "device")
	if syscall.Mknod(path, syscall.S_IFCHR|0o600, 1<<8|3) != nil {
		return false
	}
	return os.Lchown(path, 12, 34) == nil
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
	shell(t, src, "mkdir d; echo x >d/f; chmod 4755 d/f; chmod 2555 d; chown 12:34 d d/f")
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
	// A file does not replace a directory.
	shell(t, dir, "mkdir empty")
	for _, name := range []string{"full", "empty"} {
		path := filepath.Join(dir, name)
		want := path + " is a directory, and the copy is not; give the copy another name"
		if err := transfer(t, filepath.Join(dir, "file"), path, PackOptions{}, UnpackOptions{}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if err := transfer(t, filepath.Join(dir, "file"), filepath.Join(dir, "none")+"/", PackOptions{}, UnpackOptions{}); err == nil || !strings.Contains(err.Error(), "/none/ is not a directory that exists; make it") {
		t.Errorf("got %v", err)
	}
}

// With Into, a copy is where cp -r makes it.
func TestInto(t *testing.T) {
	for _, test := range []struct{ src, dst string }{
		{"file", "new"}, {"file", "old"}, {"file", "dir"}, {"file", "dir/"}, {"file", "link"}, {"file", "dir/deep"},
		{"tree", "new"}, {"tree", "dir"}, {"tree", "dir/"}, {"tree", "link"}, {"tree", "dir/deep"},
	} {
		var got [2]string
		for i := range got {
			dir := t.TempDir()
			shell(t, dir, "mkdir -p tree/sub dir/deep; echo f >file; echo x >tree/sub/x; echo old >old; ln -s dir link")
			if i == 0 {
				shell(t, dir, "cp -r "+test.src+" "+test.dst)
			} else if err := transfer(t, filepath.Join(dir, test.src), dir+"/"+test.dst, PackOptions{}, UnpackOptions{Into: test.src}); err != nil {
				t.Errorf("%s to %s: %v", test.src, test.dst, err)
			}
			got[i] = shell(t, dir, "find . | sort; find . -type f -exec cat {} +")
		}
		if got[0] != got[1] {
			t.Errorf("%s to %s:\n%s\nwant as with cp:\n%s", test.src, test.dst, got[1], got[0])
		}
	}
}

// Links that lead out of the tree are followed, as those in Bazel's runfiles need it.
func TestFollowLinksOut(t *testing.T) {
	dir := t.TempDir()
	shell(t, dir, `mkdir -p src/sub out/deep; echo a >out/a; echo b >out/deep/b; ln -s ../a out/deep/up; ln -s b out/deep/beside; echo c >src/c
		ln -s "$PWD/out/a" src/absolute; ln -s ../../out/a src/sub/relative; ln -s "$PWD/out/deep" src/folder
		ln -s c src/inside; ln -s ../c src/sub/inside; ln -s "$PWD/src/c" src/sub/absolute-inside; ln -s missing src/dangling
		ln -s "$PWD/src" alias`)
	for _, src := range []string{"src", "alias"} {
		dst := filepath.Join(dir, "copy of "+src)
		if err := transfer(t, filepath.Join(dir, src), dst, PackOptions{FollowLinksOut: true}, UnpackOptions{}); err != nil {
			t.Fatal(err)
		}
		const want = "./absolute f \n./c f \n./dangling l missing\n./folder d \n./folder/b f \n./folder/beside l b\n./folder/up f \n./inside l c\n./sub d \n./sub/absolute-inside l ../c\n./sub/inside l ../c\n./sub/relative f \n"
		if got := shell(t, dst, "find . -mindepth 1 -printf '%p %y %l\n' | LC_ALL=C sort"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if got := shell(t, dst, "cat absolute folder/b folder/up sub/relative sub/absolute-inside"); got != "a\nb\na\na\nc\n" {
			t.Errorf("got %q", got)
		}
	}
	shell(t, dir, "ln -s .. src/sub/up; ln -s ../.. src/sub/out")
	if err := Pack(io.Discard, filepath.Join(dir, "src"), PackOptions{FollowLinksOut: true}); err == nil || !strings.Contains(err.Error(), "sub/out: symbolic link to "+dir+", which contains it") {
		t.Errorf("got %v", err)
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
// Files from anywhere make one directory.
func TestPackFiles(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	shell(t, src, `
		mkdir folder; echo one >one; ln one two; echo in >folder/in; ln -s in folder/link; echo program >program; chmod 751 program`)
	files := map[string]string{
		"a/": "", "a-b": "one", "a/b/c": "two", "a/b/program": "program", "a/e/f/": "", "a/folder": "folder", "a.b/c": "one",
		"empty/": "", "z": "program",
	}
	for name, path := range files {
		if path != "" {
			files[name] = filepath.Join(src, path)
		}
	}
	var stream bytes.Buffer
	if err := PackFiles(&stream, files, PackOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := Unpack(&stream, dst, UnpackOptions{}); err != nil {
		t.Fatal(err)
	}
	want := `./a d 755
./a-b f 644
./a.b d 755
./a.b/c f 644
./a/b d 755
./a/b/c f 644
./a/b/program f 751
./a/e d 755
./a/e/f d 755
./a/folder d 755
./a/folder/in f 644
./a/folder/link f 644
./empty d 755
./z f 751
one one one in in program program
./a-b
./a.b/c
./a/b/c
`
	got := shell(t, dst, `
		find . -mindepth 1 -printf '%p %y %m\n' | LC_ALL=C sort
		echo $(cat a-b a.b/c a/b/c a/folder/in a/folder/link a/b/program z)
		find . -samefile a-b | LC_ALL=C sort`)
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestProc(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "copy")
	if err := transfer(t, "/proc/version", dst, PackOptions{}, UnpackOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := shell(t, "/", "cmp /proc/version "+dst); got != "" {
		t.Error(got)
	}
}

// Sizes and holes mean nothing in the kernel's file systems.
func TestKernelFiles(t *testing.T) {
	for _, path := range []string{
		"/proc/sys/kernel/ostype", "/proc/self/cmdline", "/proc/self/limits", "/sys/class/net/lo/mtu", "/sys/kernel/mm/transparent_hugepage/enabled",
		"/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/cgroup.procs",
	} {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Logf("not on this machine: %v", err)
			continue
		}
		dst := filepath.Join(t.TempDir(), "copy")
		if err := transfer(t, path, dst, PackOptions{}, UnpackOptions{}); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		got, err := os.ReadFile(dst)
		if err != nil || !bytes.Equal(got, want) && path != "/sys/fs/cgroup/cgroup.procs" || len(got) == 0 {
			t.Errorf("%s: got %q, %v; want %q", path, got, err, want)
		}
	}
}

// Directories of a copy can be replaced and removed. Users other than root need
// permissions for that.
func TestWritableDirs(t *testing.T) {
	src, dst := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	shell(t, src, "mkdir -p d/e; echo x >d/e/f; chmod 555 d/e d; chmod 444 d/e/f")
	t.Cleanup(func() { shell(t, src, "chmod -R u+w .") })
	for _, try := range []string{"first", "second"} {
		if err := transfer(t, src, dst, PackOptions{}, UnpackOptions{WritableDirs: true}); err != nil {
			t.Fatalf("the %s copy: %v", try, err)
		}
	}
	if got := shell(t, dst, "stat -c %a d d/e d/e/f"); got != "755\n755\n444\n" {
		t.Errorf("permissions %q", got)
	}
}

// Holes count for MaxSize only, and nothing of that size is left.
func TestMaxSize(t *testing.T) {
	src := t.TempDir()
	for _, name := range []string{"a", "b"} {
		f, err := os.Create(filepath.Join(src, name))
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt([]byte("x"), 1<<30-1)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := Pack(&b, src, PackOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		limit int64
		want  string
	}{
		{2 << 30, ""},
		{2<<30 - 1, "take more than 2147483647 bytes with their holes"},
		{1<<30 - 1, "take more than 1073741823 bytes with their holes"},
	} {
		dst := filepath.Join(t.TempDir(), "copy")
		err := Unpack(bytes.NewReader(b.Bytes()), dst, UnpackOptions{MaxBytes: 1 << 20, MaxSize: test.limit})
		if (err != nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("limit %d: got error %v, want %q", test.limit, err, test.want)
		}
		var size int64
		for _, name := range []string{"a", "b"} {
			if info, err := os.Stat(filepath.Join(dst, name)); err == nil {
				size += info.Size()
			}
		}
		if size > test.limit {
			t.Errorf("limit %d: the copy takes %d bytes", test.limit, size)
		}
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
