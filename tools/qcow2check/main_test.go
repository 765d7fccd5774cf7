package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// qemu-img judges both images of a chain, and the error says which one is wrong.
func TestCheck(t *testing.T) {
	const (
		refcounts = 2 * 65536 // offset of the block of refcounts, of 2 bytes
		l1Table   = refcounts + 2*3 + 1
		unused    = refcounts + 2*4 + 1
	)
	for _, c := range []struct {
		name     string
		offset   int64 // of the byte that is changed in the base
		value    byte
		want     string // after the path of the base; "" for no error
		reported string
	}{
		{"sound", unused, 0, "", "No errors were found"},
		{"leaked", unused, 1, ": qemu-img check: the image has leaked clusters, which take space; create it again, or free them with qemu-img check -r leaks", "Leaked cluster 4"},
		{"corrupt", l1Table, 0, ": qemu-img check: the image is corrupt; create it again, or repair it with qemu-img check -r all", "ERROR cluster 3"},
		{"not qcow2", 0, 0, "qemu-img info: ", "Image is not in qcow2 format"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("TEST_UNDECLARED_OUTPUTS_DIR", dir)
			base, image := filepath.Join(dir, "base.qcow2"), filepath.Join(dir, "image.qcow2")
			qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", base, "1M")
			qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", image)
			file, err := os.OpenFile(base, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			// A cluster at the end that nothing refers to.
			if err := file.Truncate(5 << 16); err != nil {
				t.Fatal(err)
			}
			if _, err := file.WriteAt([]byte{c.value}, c.offset); err != nil {
				t.Fatal(err)
			}
			err = (&check{QEMUImg: qemuimg.Path(t), Image: image, Format: "qcow2"}).run()
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || err.Error() != base+c.want && !strings.HasPrefix(err.Error(), c.want)):
				t.Errorf("got error %v, want %q", err, base+c.want)
			}
			report, err := os.ReadFile(filepath.Join(dir, "check.txt"))
			if err != nil || !strings.Contains(string(report), c.reported) {
				t.Errorf("got report %q, %v; want %q in it", report, err, c.reported)
			}
		})
	}
}
