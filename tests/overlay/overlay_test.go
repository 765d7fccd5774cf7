// Package overlay_test opens overlays in the runfiles of a test, with QEMU's tools.
package overlay_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

const mib = 1 << 20

// overlays are the targets, with the environment variables that have their rlocation
// paths.
var overlays = []struct {
	env         string
	layers      int // including the base
	baseFormat  string
	virtualSize int64
	compat      string
	extendedL2  bool
	clusterSize int64
	// data is the value of the first dataLength bytes; zeros follow.
	data       byte
	dataLength int64
}{
	{"ON_SOURCE", 2, "raw", 4096, "1.1", true, 131072, 'S', 4096},
	{"ON_GENERATED", 2, "raw", 3 * mib / 2, "1.1", true, 131072, 'G', 1000000},
	{"ON_EXTERNAL", 2, "raw", 8192, "1.1", false, 65536, 'X', 8192},
	{"ON_IMAGE", 2, "qcow2", 3 << 30, "1.1", true, 131072, 0, 0},
	{"SIZED", 2, "raw", 20 << 30, "1.1", true, 131072, 'S', 4096},
	{"NAMED", 2, "raw", 4096, "0.10", false, 4096, 'S', 4096},
	{"ON_OVERLAY", 3, "raw", 64 * mib, "1.1", true, 131072, 'S', 4096},
	{"THREE_DEEP", 4, "raw", 64 * mib, "1.1", true, 131072, 'S', 4096},
}

func TestOverlaysOpenFromRunfiles(t *testing.T) {
	for _, o := range overlays {
		t.Run(o.env, func(t *testing.T) {
			// Bazel quotes a path with spaces as for a shell.
			path, err := runfiles.Rlocation(strings.Trim(os.Getenv(o.env), "'"))
			if err != nil {
				t.Fatal(err)
			}
			qemuimg.Must(t, "", "check", path)

			chain := qemuimg.LinkedChain(t, path, o.layers)
			top, base := chain[0], chain[len(chain)-1]
			if top.VirtualSize != o.virtualSize || top.ClusterSize != o.clusterSize || top.Specific.Data.Compat != o.compat || top.Specific.Data.ExtendedL2 != o.extendedL2 {
				t.Errorf("got image %+v, want parameters %+v", top, o)
			}
			if base.Format != o.baseFormat {
				t.Errorf("got base of format %s, want %s", base.Format, o.baseFormat)
			}
			checkData(t, path, o.data, o.dataLength, o.virtualSize)
		})
	}
}

// checkData compares the guest's first MiB and its last sector.
func checkData(t *testing.T, path string, data byte, dataLength, virtualSize int64) {
	t.Helper()
	head := min(mib, virtualSize)
	want := bytes.Repeat([]byte{data}, int(dataLength))
	want = append(want, make([]byte, head-dataLength)...)
	if got := read(t, path, 0, head); !bytes.Equal(got, want) {
		t.Errorf("the first %d bytes are not %d times %q and zeros", head, dataLength, data)
	}
	if virtualSize > mib {
		if got := read(t, path, virtualSize-512, 512); !bytes.Equal(got, make([]byte, 512)) {
			t.Errorf("the last sector is not zeros: %q", got)
		}
	}
}

func read(t *testing.T, path string, offset, length int64) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	qemuimg.Must(t, "", "dd", "-U", "-f", "qcow2", "-O", "raw", "bs=512", fmt.Sprintf("skip=%d", offset/512),
		fmt.Sprintf("count=%d", (offset+length)/512), "if="+path, "of="+out)
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
