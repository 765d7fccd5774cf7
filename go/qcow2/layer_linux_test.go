package qcow2_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/smallfs"
)

// smallDirVariable names the directory of a small file system to
// TestCreateLayerOnFullDisk, in the process that sees the file system.
const smallDirVariable = "QCOW2_SMALL_DIR"

// TestCreateLayerOnFullDisk checks that no file is left if a write fails.
func TestCreateLayerOnFullDisk(t *testing.T) {
	dir := os.Getenv(smallDirVariable)
	if dir == "" {
		dir = t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), smallDirVariable+"="+dir)
		smallfs.Mount(t, cmd, dir, "64k")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	base, layer := filepath.Join(dir, "base"), filepath.Join(dir, "layer")
	writeFile(t, base, make([]byte, 512))
	err := qcow2.CreateLayer(layer, base, "", qcow2.GenerateWithPreallocation(qcow2.PreallocationMetadata), qcow2.GenerateWithFileSize(1<<40))
	checkSentence(t, err, layer, base, "no space left")
	if _, err := os.Lstat(layer); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file is left: %v", err)
	}
}
