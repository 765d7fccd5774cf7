package qcow2test_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2/qcow2test"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

const baseSize = 1 << 20

// newBase returns a raw image full of the letter B.
func newBase(t testing.TB) string {
	t.Helper()
	base := filepath.Join(t.TempDir(), "base.img")
	if err := os.WriteFile(base, bytes.Repeat([]byte("B"), baseSize), 0o444); err != nil {
		t.Fatal(err)
	}
	return base
}

// io runs a command of qemu-io, which is in the directory of qemu-img.
func io(t testing.TB, disk, command string) {
	t.Helper()
	qemuIO := filepath.Join(filepath.Dir(qemuimg.Path(t)), "qemu-io")
	out, err := exec.Command(qemuIO, "-f", "qcow2", "-c", command, disk).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("verification failed")) {
		t.Fatalf("qemu-io %q: %v: %s", command, err, out)
	}
}

func TestDiskTakesWritesAndBaseStays(t *testing.T) {
	base := newBase(t)
	before, err := os.ReadFile(base)
	if err != nil {
		t.Fatal(err)
	}
	disk := qcow2test.Disk(t, base)
	io(t, disk, fmt.Sprintf("read -P 0x42 0 %d", baseSize))
	io(t, disk, "write -P 0x57 512 512")
	io(t, disk, "read -P 0x57 512 512")
	io(t, disk, "read -P 0x42 0 512")
	qemuimg.Must(t, "", "check", disk)
	after, err := os.ReadFile(base)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("base has changed")
	}
}

func TestDiskHasSizeAndFormat(t *testing.T) {
	disk := qcow2test.Disk(t, newBase(t), qcow2test.WithSize(1<<30), qcow2test.WithFormat("raw"))
	var info struct {
		VirtualSize   int64  `json:"virtual-size"`
		BackingFormat string `json:"backing-filename-format"`
	}
	if err := json.Unmarshal([]byte(qemuimg.Must(t, "", "info", "--output=json", disk)), &info); err != nil {
		t.Fatal(err)
	}
	if info.VirtualSize != 1<<30 || info.BackingFormat != "raw" {
		t.Errorf("disk has %d bytes on a backing file of format %q, want 1 GiB on raw", info.VirtualSize, info.BackingFormat)
	}
}

func TestThousandParallelTestsShareABase(t *testing.T) {
	base := newBase(t)
	disks := make([]string, 1000)
	t.Run("disks", func(t *testing.T) {
		for i := range disks {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				disks[i] = qcow2test.Disk(t, base)
				if i%100 == 0 {
					io(t, disks[i], fmt.Sprintf("write -P %d 0 512", i/100))
					io(t, disks[i], fmt.Sprintf("read -P %d 0 512", i/100))
				}
			})
		}
	})
	seen := map[string]bool{}
	for _, disk := range disks {
		if seen[disk] {
			t.Fatalf("two tests got the disk %s", disk)
		}
		seen[disk] = true
		if _, err := os.Stat(disk); err == nil {
			t.Errorf("%s is still there after its test", disk)
		}
	}
}

// failing is a testing.TB that records the message of Fatalf.
type failing struct {
	testing.TB
	message string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.message = fmt.Sprintf(format, args...)
	panic(f)
}

func TestDiskSaysWhatIsWrong(t *testing.T) {
	base := newBase(t)
	for _, c := range []struct {
		name string
		base string
		opts []qcow2test.Option
		want string
	}{
		{"missing", "/no/such/base.img", nil, "no such file"},
		{"not in the runfiles", "_main/no/such/base.img", nil, "not an absolute path and not found in the runfiles"},
		{"directory", filepath.Dir(base), nil, "is a directory"},
		{"other format", base, []qcow2test.Option{qcow2test.WithFormat("qcow2")}, "not a qcow2 image"},
		{"too large", base, []qcow2test.Option{qcow2test.WithSize(1 << 63)}, "virtual size is 9223372036854775808 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &failing{TB: t}
			defer func() {
				if r := recover(); r != nil && r != f {
					panic(r)
				}
				if !strings.HasPrefix(f.message, "qcow2test: ") || !strings.Contains(f.message, c.want) || !strings.Contains(f.message, c.base) {
					t.Errorf("message is %q, want it to name %q and say %q", f.message, c.base, c.want)
				}
			}()
			qcow2test.Disk(f, c.base, c.opts...)
		})
	}
}
