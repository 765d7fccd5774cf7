package agent_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

func shell(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.Command("sh", "-euc", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

func TestCopy(t *testing.T) {
	ctx, c := connect(t)
	dir := t.TempDir()
	shell(t, dir, `mkdir -p src/d; echo one >src/one; ln src/one src/d/two; ln -s d src/link; chmod 640 src/one
		truncate -s 50M src/sparse; head -c 3000000 /dev/urandom >src/d/random; touch -d 2001-02-03 src/one`)
	if err := c.CopyTo(ctx, dir+"/src", dir+"/guest/copy", agent.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.CopyFrom(ctx, dir+"/guest/copy", dir+"/back", agent.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, copy := range []string{"guest/copy", "back"} {
		shell(t, dir, "diff -r --no-dereference src "+copy)
		describe := "cd $0; find . -printf '%P %y %m %T@ %l %n %b\n' | sort"
		want := shell(t, dir, strings.ReplaceAll(describe, "$0", "src"))
		if got := shell(t, dir, strings.ReplaceAll(describe, "$0", copy)); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", copy, got, want)
		}
	}
	if err := c.CopyFS(ctx, fstest.MapFS{"a/b": {Data: []byte("b")}}, dir+"/fs"); err != nil {
		t.Fatal(err)
	}
	if got := shell(t, dir, "cat fs/a/b"); got != "b" {
		t.Errorf("CopyFS: got %q", got)
	}
}

// Without Into, a file does not replace a folder. With Into, the copy is in the folder.
func TestCopyInto(t *testing.T) {
	ctx, c := connect(t)
	for name, copy := range map[string]func(src, dst string, opts agent.CopyOptions) error{
		"to the guest":   func(src, dst string, opts agent.CopyOptions) error { return c.CopyTo(ctx, src, dst, opts) },
		"from the guest": func(src, dst string, opts agent.CopyOptions) error { return c.CopyFrom(ctx, src, dst, opts) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			shell(t, dir, "mkdir empty tree; echo x >file; echo y >tree/y")
			want := dir + "/empty is a directory, and the copy is not; give the copy another name"
			if err := copy(dir+"/file", dir+"/empty", agent.CopyOptions{}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
			for _, src := range []string{"file", "tree"} {
				if err := copy(dir+"/"+src, dir+"/empty", agent.CopyOptions{Into: true}); err != nil {
					t.Errorf("%s: %v", src, err)
				}
			}
			if got := shell(t, dir, "cd empty; find . -type f | sort"); got != "./file\n./tree/y\n" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// CopyTo follows links that lead out of the folder. CopyFrom does not follow links.
func TestCopyLinksOut(t *testing.T) {
	ctx, c := connect(t)
	dir := t.TempDir()
	shell(t, dir, `mkdir src; echo x >out; ln -s "$PWD/out" src/out; echo y >src/file; ln -s file src/inside`)
	if err := c.CopyTo(ctx, dir+"/src", dir+"/to", agent.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.CopyFrom(ctx, dir+"/src", dir+"/from", agent.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	for copy, want := range map[string]string{"to": "file f\ninside l\nout f\n", "from": "file f\ninside l\nout l\n"} {
		if got := shell(t, dir, "find "+copy+" -mindepth 1 -printf '%f %y\n' | sort"); got != want {
			t.Errorf("the copy %s the guest: got %q, want %q", copy, got, want)
		}
	}
}

// The caller can replace and remove a copy from the guest. A copy to the guest keeps its
// permissions.
func TestCopyClosedDirectory(t *testing.T) {
	ctx, c := connect(t)
	dir := t.TempDir()
	t.Cleanup(func() { shell(t, dir, "chmod -R u+w .") })
	shell(t, dir, "mkdir -p src/d; echo x >src/d/file; chmod 555 src/d src")
	for range 2 {
		if err := c.CopyFrom(ctx, dir+"/src", dir+"/from", agent.CopyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.CopyTo(ctx, dir+"/src", dir+"/to", agent.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := shell(t, dir, "stat -c %a from from/d to to/d"); got != "755\n755\n555\n555\n" {
		t.Errorf("permissions %q", got)
	}
}

func TestCopyErrors(t *testing.T) {
	ctx, c := connect(t)
	dir := t.TempDir()
	shell(t, dir, "echo x >file; mkdir many; touch many/1 many/2 many/3; mkfifo -m 000 fifo")
	none := agent.CopyOptions{}
	for _, test := range []struct {
		name string
		err  error
		want string
		is   error
	}{
		{"no source on the host", c.CopyTo(ctx, dir+"/no", dir+"/x", none), "lstat " + dir + "/no", fs.ErrNotExist},
		{"no source in the guest", c.CopyFrom(ctx, dir+"/no", dir+"/x", none), "lstat " + dir + "/no", fs.ErrNotExist},
		{"below a file in the guest", c.CopyTo(ctx, dir+"/many", dir+"/file/x", none), "not a directory", nil},
		{"below a file on the host", c.CopyFrom(ctx, dir+"/many", dir+"/file/x", none), "not a directory", nil},
		{"relative path", c.CopyTo(ctx, dir+"/file", "x", none), `path "x" must be absolute`, nil},
		{"empty path", c.CopyFrom(ctx, "", dir+"/x", none), `path "" must be absolute`, nil},
		{"too many files", c.CopyFrom(ctx, dir+"/many", dir+"/x", agent.CopyOptions{MaxFiles: 2}), "more than 2 files", nil},
		{"too many bytes", c.CopyFrom(ctx, "/proc/version", dir+"/y", agent.CopyOptions{MaxBytes: 2}), "more than 2 bytes", nil},
		{"device", c.CopyFrom(ctx, "/dev/null", dir+"/y", none), "is a device file", nil},
		{"endless file", c.CopyFrom(ctx, "/proc/self/pagemap", dir+"/z", agent.CopyOptions{MaxBytes: 1 << 20}), "more than 1048576 bytes", nil},
		{"full disk", func() error {
			_, err := os.Stat("/dev/full")
			if err != nil {
				return err
			}
			return c.WriteFile(ctx, "/dev/full", []byte("x"), 0)
		}(), "no space left on device", nil},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) || test.is != nil && !errors.Is(test.err, test.is) {
			t.Errorf("%s: got %v, want %q, %v", test.name, test.err, test.want, test.is)
		}
	}
	// The session is as before.
	if _, err := c.ReadFile(ctx, dir+"/file"); err != nil {
		t.Error(err)
	}
}

func TestReadWriteFile(t *testing.T) {
	ctx, c := connect(t)
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	for _, content := range [][]byte{[]byte("first"), {}, bytes.Repeat([]byte("\x00\xff\n"), 1<<20)} {
		if err := c.WriteFile(ctx, name, content, 0o640); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, content) {
			t.Errorf("wrote %d bytes, the file has %d, %v", len(content), len(got), err)
		}
		if got, err := c.ReadFile(ctx, name); err != nil || !bytes.Equal(got, content) {
			t.Errorf("read %d bytes, %v; want %d", len(got), err, len(content))
		}
	}
	if got := shell(t, dir, "stat -c %a file"); got != "640\n" {
		t.Errorf("permissions %s", got)
	}
	// As os.WriteFile: links are followed, permissions stay.
	shell(t, dir, "chmod 600 file; ln -s file link")
	if err := c.WriteFile(ctx, dir+"/link", []byte("x"), 0o777); err != nil {
		t.Fatal(err)
	}
	if got := shell(t, dir, "cat file; stat -c %a file"); got != "x600\n" {
		t.Errorf("got %q", got)
	}
	// Linux keeps 15 bytes of a program's name.
	comm := filepath.Base(program)
	if got, err := c.ReadFile(ctx, "/proc/self/comm"); err != nil || string(got) != comm[:min(15, len(comm))]+"\n" {
		t.Errorf("procfs: %q, %v", got, err)
	}
	if _, err := c.ReadFile(ctx, dir+"/no"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := c.ReadFile(ctx, dir); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("directory: %v", err)
	}
	if _, err := c.ReadFile(ctx, "/dev/zero"); err == nil || !strings.Contains(err.Error(), "larger than 67108864 bytes; use CopyFrom") {
		t.Errorf("endless: %v", err)
	}
	if err := c.WriteFile(ctx, dir+"/no/file", make([]byte, 1<<20), 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

// A file that never ends ends with the context, also where the agent waits in a
// read that it cannot interrupt.
func TestReadCanceled(t *testing.T) {
	ctx, c := connect(t)
	dir := t.TempDir()
	shell(t, dir, "mkfifo fifo")
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	// A writer that keeps the FIFO open.
	w, err := os.OpenFile(dir+"/fifo", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	done := make(chan error)
	go func() {
		_, err := c.ReadFile(short, dir+"/fifo")
		done <- err
	}()
	c.ReadFile(ctx, "/proc/version")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := c.ReadFile(ctx, "/proc/version"); err != nil {
		t.Error(err)
	}
}

// A guest that dies in the middle of a copy.
func TestGuestDiesInCopy(t *testing.T) {
	noLeaks(t)
	conn, guest := pair(t)
	cmd := startAgent(t, guest)
	ctx, c := connectTo(t, conn)
	dir := t.TempDir()
	shell(t, dir, "truncate -s 1G file; head -c 1M /dev/urandom >>file")
	// Both copies are under way and cannot end: the agent's end is kept full.
	fifo := dir + "/fifo"
	shell(t, dir, "mkfifo fifo")
	w, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	errs := make(chan error)
	go func() { errs <- c.CopyTo(ctx, dir+"/file", dir+"/copy", agent.CopyOptions{}); errs <- nil }()
	go func() {
		_, err := c.ReadFile(ctx, fifo)
		errs <- err
	}()
	w.WriteString("x")
	c.ReadFile(ctx, "/proc/version")
	cmd.Process.Kill()
	ended := 0
	for range 3 {
		err := <-errs
		if err == nil {
			continue
		}
		ended++
		if !strings.Contains(err.Error(), "the guest closed the connection to its agent") {
			t.Errorf("got %v", err)
		}
	}
	if ended == 0 {
		t.Error("no call failed")
	}
	if err := c.CopyFrom(ctx, dir+"/file", dir+"/x", agent.CopyOptions{}); err == nil || !strings.Contains(err.Error(), "the guest closed the connection") {
		t.Errorf("got %v", err)
	}
}

// A guest that lies in a copy reaches nothing outside the destination.
func TestLyingGuest(t *testing.T) {
	for _, test := range []struct{ name, stream, want string }{
		{"traversal", "F\x00\x09../escape\x00\x00\x01\xed" + strings.Repeat("\x00", 16), `"../escape" is not the name of a file`},
		{"never ends", "", "the guest closed the connection"},
	} {
		t.Run(test.name, func(t *testing.T) {
			noLeaks(t)
			host, guest := newFake(t)
			go func() {
				guest.answer(protocol.Version)
				s := protocol.NewSession(guest.w, protocol.Nonce{}, func(q *protocol.Request) {
					w := q.Writer(protocol.Data)
					io.WriteString(w, "D\x00\x00\x00\x00\x01\xed"+strings.Repeat("\x00", 16)+test.stream)
					if test.stream == "" {
						guest.Close()
					}
				})
				s.Fail(s.Serve(guest.r))
			}()
			c, err := agent.New(context.Background(), host)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetGrace(0)
			dir := t.TempDir()
			err = c.CopyFrom(context.Background(), "/x", dir+"/copy", agent.CopyOptions{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if _, err := os.Stat(dir + "/escape"); err == nil {
				t.Error("the guest wrote outside the destination")
			}
		})
	}
}
