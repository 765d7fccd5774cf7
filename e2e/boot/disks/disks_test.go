// Package disks_test writes to the disks of 50 machines, one after the other.
package disks_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/qcow2/qcow2test"
)

const mib = 1 << 20

func TestDisks(t *testing.T) {
	overlays := strings.Fields(os.Getenv("DISKS"))
	if len(overlays) != 50 {
		t.Fatalf("got %d disks, want 50", len(overlays))
	}
	sizes := map[int64]bool{}
	for _, overlay := range overlays {
		t.Run(filepath.Base(overlay), func(t *testing.T) {
			below := locate(t, overlay)
			before := digests(t, below)
			disk := qcow2test.Disk(t, overlay, qcow2test.WithFormat("qcow2"))
			var info struct {
				Size int64 `json:"virtual-size"`
			}
			if err := json.Unmarshal([]byte(run(t, "qemu/qemu-img", "info", "--output=json", disk)), &info); err != nil {
				t.Fatal(err)
			}
			sizes[info.Size] = true

			// Write across two layers, and at the end.
			end := info.Size - 512
			run(t, "qemu/qemu-io", "-f", "qcow2",
				"-c", fmt.Sprintf("write -P 0x57 %d 4k", 2*mib-2048),
				"-c", fmt.Sprintf("write -P 0x57 %d 512", end),
				"-c", "flush", disk)
			commands := []string{"-r", "-f", "qcow2"}
			for _, part := range []struct {
				pattern  byte
				from, to int64
			}{
				{'B', 0, mib},
				{'1', mib, 2*mib - 128<<10},
				{'2', 2*mib - 128<<10, 2*mib - 2048},
				{'W', 2*mib - 2048, 2*mib + 2048},
				{'2', 2*mib + 2048, 3 * mib},
				{'B', 3 * mib, min(4*mib, end)},
				{0, 4 * mib, min(end, 16*mib)}, // past the end of the layers below
				{'W', end, info.Size},
			} {
				if part.to > part.from {
					commands = append(commands, "-c", fmt.Sprintf("read -P %d %d %d", part.pattern, part.from, part.to-part.from))
				}
			}
			if out := run(t, "qemu/qemu-io", append(commands, disk)...); strings.Contains(out, "Pattern verification failed") {
				t.Errorf("the disk has other data than expected: %s", out)
			}
			run(t, "qemu/qemu-img", "check", disk)
			run(t, "qemu/qemu-img", "check", below)
			for path, digest := range digests(t, below) {
				if before[path] != digest {
					t.Errorf("%s changed", path)
				}
			}
		})
	}
	if len(sizes) < 7 {
		t.Errorf("the disks have %d different sizes, want at least 7", len(sizes))
	}
}

// digests returns the digests of an overlay and of all layers below it.
func digests(t *testing.T, overlay string) map[string][sha256.Size]byte {
	t.Helper()
	sums := map[string][sha256.Size]byte{}
	var chain []struct{ Filename string }
	if err := json.Unmarshal([]byte(run(t, "qemu/qemu-img", "info", "--backing-chain", "--output=json", overlay)), &chain); err != nil {
		t.Fatal(err)
	}
	if len(chain) != 4 {
		t.Fatalf("the chain has %d layers, want 4", len(chain))
	}
	for _, layer := range chain {
		b, err := os.ReadFile(layer.Filename)
		if err != nil {
			t.Fatal(err)
		}
		sums[layer.Filename] = sha256.Sum256(b)
	}
	return sums
}

func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(locate(t, program), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", program, args, err, out)
	}
	return string(out)
}

func locate(t *testing.T, path string) string {
	t.Helper()
	path, err := runfiles.Rlocation(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
