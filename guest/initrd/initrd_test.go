package initrd

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/need"
)

func TestWrite(t *testing.T) {
	cpio, err := exec.LookPath("cpio")
	if err != nil {
		need.Skip(t, "cpio is not on PATH; install the package of that name")
	}
	for size := range 5 {
		var b bytes.Buffer
		program := bytes.Repeat([]byte("x"), size)
		if err := Write(&b, program); err != nil {
			t.Fatal(err)
		}
		if b.Len()%4 != 0 {
			t.Errorf("archive of %d bytes is not padded", b.Len())
		}
		dir := t.TempDir()
		cmd := exec.Command(cpio, "-idm", "--quiet")
		cmd.Dir, cmd.Stdin = dir, &b
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("cpio: %v\n%s", err, out)
		}
		path := filepath.Join(dir, "rules_qcow2", "agent")
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); !bytes.Equal(got, program) || info.Mode() != 0o755 {
			t.Errorf("got %q, %v", got, info.Mode())
		}
	}
}
