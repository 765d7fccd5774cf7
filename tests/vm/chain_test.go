package vm_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// exitStatus is QEMU's exit status if the boot sector succeeds.
const exitStatus = 33

// TestBootFromChain boots a machine from a chain of overlays, without the runner.
func TestBootFromChain(t *testing.T) {
	for _, accelerator := range []string{"tcg", "kvm"} {
		t.Run(accelerator, func(t *testing.T) {
			if accelerator == "kvm" && !kvmWorks() {
				t.Skip("this machine does not support KVM for x86-64 guests")
			}
			bootFromChain(t, accelerator)
		})
	}
}

func bootFromChain(t *testing.T, accelerator string) {
	overlay := rlocation(t, os.Getenv("OVERLAY"))
	before := digests(t, overlay)
	if len(before) != 4 {
		t.Fatalf("got %d files of overlay and links, want 4", len(before))
	}

	layer := filepath.Join(t.TempDir(), "layer.qcow2")
	f, err := os.Create(layer)
	if err != nil {
		t.Fatal(err)
	}
	if err := qcow2.Generate(f, qcow2.GenerateWithBackingFile(overlay)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}

	console := boot(t, accelerator, layer)
	for _, line := range []string{"boot sector: running", "sector 1: the base is readable", "sector 2: written"} {
		if !strings.Contains(console, line) {
			t.Errorf("console does not contain %q: %q", line, console)
		}
	}

	qemuimg.Must(t, "", "check", layer)
	if got, want := sector(t, layer, 2), bytes.Repeat([]byte("W"), 512); !bytes.Equal(got, want) {
		t.Errorf("private layer does not have the guest's write: %q", got)
	}
	if got := sector(t, overlay, 2); !bytes.Equal(got, make([]byte, 512)) {
		t.Errorf("overlay has the guest's write: %q", got)
	}
	for path, digest := range digests(t, overlay) {
		if before[path] != digest {
			t.Errorf("%s changed", path)
		}
	}
}

// boot runs a machine with the disk until it ends, and returns its console.
func boot(t *testing.T, accelerator, disk string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, rlocation(t, "qemu/qemu-system-x86_64"),
		"-accel", accelerator, "-machine", "pc", "-m", "32M",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none",
		"-serial", "stdio",
		"-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
		"-drive", "if=virtio,format=qcow2,file="+disk,
	)
	var console, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &console, &errs
	err := cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != exitStatus {
		t.Fatalf("QEMU ended with %v (%v), want exit status %d; console: %q; errors: %s", err, ctx.Err(), exitStatus, console.String(), errs.String())
	}
	return console.String()
}

func sector(t *testing.T, disk string, n int64) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "raw")
	qemuimg.Must(t, "", "convert", "-O", "raw", disk, out)
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b[512*n : 512*(n+1)]
}

// digests returns the digests of the overlay and of the targets of its links.
func digests(t *testing.T, overlay string) map[string][sha256.Size]byte {
	t.Helper()
	sums := map[string][sha256.Size]byte{}
	add := func(path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sums[path] = sha256.Sum256(b)
	}
	add(overlay)
	err := filepath.WalkDir(overlay+".backing", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			add(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

// kvmWorks reports whether KVM can be expected to run a guest. A virtual machine
// without nested virtualization may have the device as well.
func kvmWorks() bool {
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo")
	if !bytes.Contains(cpuinfo, []byte(" vmx ")) && !bytes.Contains(cpuinfo, []byte(" svm ")) {
		return false
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

func rlocation(t *testing.T, path string) string {
	t.Helper()
	path, err := runfiles.Rlocation(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
