package generator_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/smallfs"
)

// TestNoRoom fills a file system at each page of what the generator writes: all
// of it is there or none.
func TestNoRoom(t *testing.T) {
	// Three clusters that are not empty, of which each is a page, and the
	// metadata.
	needed := 4 * os.Getpagesize()
	for size := os.Getpagesize(); size <= needed; size += os.Getpagesize() {
		dir := t.TempDir()
		out := filepath.Join(dir, "out")
		if err := os.Mkdir(out, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := qcow2gen(t, dir, "create", "-q", "-u", "-b", "base.img", "-F", "raw", "-o", "extended_l2=on,cluster_size=131072",
			"--info-output="+filepath.Join(out, metadata), filepath.Join(out, image), "20G")
		// The file system is gone with the process.
		cmd.Args = append([]string{"sh", "-c", `"$@"; code=$?; ls -A "$0"; exit $code`, out}, cmd.Args...)
		smallfs.Mount(t, cmd, out, fmt.Sprint(size))
		log, err := cmd.CombinedOutput()
		if size == needed {
			if err != nil || string(log) != image+"\n"+metadata+"\n" {
				t.Errorf("there is room for %d bytes, and the image takes no more: %v: %s", size, err, log)
			}
			continue
		}
		line, left, _ := strings.Cut(string(log), "\n")
		if err == nil || !strings.HasSuffix(line, ": no space left on device") || left != "" {
			t.Errorf("there is room for %d bytes: %v: %s", size, err, log)
		}
	}
}
