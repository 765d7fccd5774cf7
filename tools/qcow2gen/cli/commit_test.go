package cli

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestFailedCommit makes the last of several files fail to get its name, with a
// directory of that name. The earlier steps must be undone.
func TestFailedCommit(t *testing.T) {
	for _, named := range []bool{false, true} {
		if named {
			defer NameTemporaryFiles()()
		}
		dir := t.TempDir()
		in := func(name string) string { return filepath.Join(dir, name) }
		if err := os.WriteFile(in("kept"), []byte("data"), 0o666); err != nil {
			t.Fatal(err)
		}
		out := &outputs{}
		for _, name := range []string{"image", "info"} {
			if _, err := out.create(in(name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := out.grow(in("kept"), 1000); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(in("image"), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := out.commit(); err == nil {
			t.Error("commit succeeds with a directory of the image's name")
		}
		out.discard()
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) != 2 || entries[0].Name() != "image" || entries[1].Name() != "kept" {
			t.Errorf("directory has %v, want image and kept", entries)
		}
		if info, err := os.Stat(in("kept")); err != nil || info.Size() != 4 {
			t.Errorf("file that is kept has %d bytes (%v), want 4", info.Size(), err)
		}
	}
}

// createInPlace creates a file with two names in a new folder, and outputs that will be
// written to it in place.
func createInPlace(t *testing.T) (dir string, out *outputs) {
	t.Helper()
	dir = t.TempDir()
	path := filepath.Join(dir, "linked")
	if err := os.WriteFile(path, []byte("data"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(path, filepath.Join(dir, "other")); err != nil {
		t.Fatal(err)
	}
	out = &outputs{}
	if _, err := out.create(path); err != nil {
		t.Fatal(err)
	}
	return dir, out
}

func checkUnchanged(t *testing.T, dir string) {
	t.Helper()
	if b, err := os.ReadFile(filepath.Join(dir, "linked")); err != nil || string(b) != "data" {
		t.Errorf("the file is written in place although commit fails: %q (%v)", b, err)
	}
}

// TestFailedCommitInPlace checks that no file is written in place if another file
// cannot get its name.
func TestFailedCommitInPlace(t *testing.T) {
	dir, out := createInPlace(t)
	defer out.discard()
	if _, err := out.create(filepath.Join(dir, "image")); err != nil {
		t.Fatal(err)
	}
	out.files[0], out.files[1] = out.files[1], out.files[0] // in any order
	if err := os.Mkdir(filepath.Join(dir, "image"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := out.commit(); err == nil {
		t.Error("commit succeeds with a directory of the image's name")
	}
	checkUnchanged(t, dir)
}

// TestInUseBeforeCommit checks that a file which QEMU opened since create is not
// written in place.
func TestInUseBeforeCommit(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("QEMU's locks can be taken on Linux only")
	}
	dir, out := createInPlace(t)
	defer out.discard()
	unlock, err := lockImage(filepath.Join(dir, "linked"))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := out.commit(); err == nil || !strings.Contains(err.Error(), "QEMU has it open") {
		t.Errorf("error is %v, want one that says that QEMU has the file open", err)
	}
	checkUnchanged(t, dir)
}
