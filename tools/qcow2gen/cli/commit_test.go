package cli

import (
	"os"
	"path/filepath"
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
