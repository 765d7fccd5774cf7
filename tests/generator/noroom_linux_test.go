package generator_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/smallfs"
)

// TestNoRoom runs the generator on file systems that are full after each page of
// its files. It must create both files or none.
func TestNoRoom(t *testing.T) {
	// Three clusters with one page of data each, and the metadata.
	needed := 4 * os.Getpagesize()
	for size := os.Getpagesize(); size <= needed; size += os.Getpagesize() {
		dir := t.TempDir()
		out := filepath.Join(dir, "out")
		if err := os.Mkdir(out, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := qcow2gen(t, dir, "create", "-q", "-u", "-b", "base.img", "-F", "raw", "-o", "extended_l2=on,cluster_size=131072",
			"--info-output="+filepath.Join(out, metadata), filepath.Join(out, image), "20G")
		// The file system exists only while the process runs.
		cmd.Args = append([]string{"sh", "-c", `"$@"; code=$?; ls -A "$0"; exit $code`, out}, cmd.Args...)
		smallfs.Mount(t, cmd, out, fmt.Sprint(size))
		log, err := cmd.CombinedOutput()
		if size == needed {
			if err != nil || string(log) != image+"\n"+metadata+"\n" {
				t.Errorf("%d bytes are free, enough for the image: %v: %s", size, err, log)
			}
			continue
		}
		line, left, _ := strings.Cut(string(log), "\n")
		if err == nil || !strings.HasSuffix(line, ": no space left on device") || left != "" {
			t.Errorf("%d bytes are free, not enough for the image: %v: %s", size, err, log)
		}
	}
}
