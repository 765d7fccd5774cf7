package tree

import (
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The umask does not change the permissions of copies, first ones and later ones.
func TestUmask(t *testing.T) {
	src, dst := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	shell(t, src, "for i in 1 2; do for mode in 444 600 664 666 777; do echo x >$mode-$i; chmod $mode $mode-$i; done; done")
	defer syscall.Umask(syscall.Umask(0o027))
	if err := transfer(t, src, dst, PackOptions{}, UnpackOptions{}); err != nil {
		t.Fatal(err)
	}
	const modes = "find . -type f -printf '%f %m\n' | sort"
	if got, want := shell(t, dst, modes), shell(t, src, modes); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// Files that the destination has already are linked.
func TestLink(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	shell(t, src, "mkdir dir; echo new >dir/known; echo other >dir/unknown")
	shell(t, dst, "mkdir store; echo stored >store/key")
	known := func(path string, _ fs.FileInfo) (string, error) {
		if filepath.Base(path) == "known" {
			return "store/key", nil
		}
		return "", nil
	}
	if err := transfer(t, src, dst, PackOptions{Link: known}, UnpackOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := shell(t, dst, "cat dir/known dir/unknown; find . -samefile store/key | sort"); got != "stored\nother\n./dir/known\n./store/key\n" {
		t.Errorf("got %q", got)
	}
	missing := func(string, fs.FileInfo) (string, error) { return "store/missing", nil }
	if err := transfer(t, src, dst, PackOptions{Link: missing}, UnpackOptions{}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v for a link to a missing file", err)
	}
}
