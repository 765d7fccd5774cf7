package debian_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

// checkRoot checks with e2fsprogs, which made the file system, that the guest
// unmounted it and that it has the file of the test.
func checkRoot(t *testing.T, layer string) {
	t.Helper()
	qemuImg, err := runfiles.Rlocation(os.Getenv("QEMU_IMG"))
	if err != nil {
		t.Fatal(err)
	}
	device := filepath.Join(t.TempDir(), "root")
	image := "driver=raw,file.driver=qcow2,file.file.filename=" + layer + os.Getenv("PARTITION")
	run(t, qemuImg, "convert", "--image-opts", "-O", "raw", image, device)
	if got := run(t, program("dumpe2fs"), "-h", device); strings.Contains(got, "needs_recovery") || !strings.Contains(got, "clean\n") {
		t.Errorf("the file system was not unmounted:\n%s", got)
	}
	run(t, program("e2fsck"), "-f", "-n", device)
	if got := run(t, program("debugfs"), "-R", "cat /root/written", device); !strings.Contains(got, "by the agent\n") {
		t.Errorf("the file is %q", got)
	}
}

// program returns the path of a program that may be outside PATH.
func program(name string) string {
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path := filepath.Join(dir, name); exec.Command(path, "-V").Run() == nil {
			return path
		}
	}
	return name
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, &out)
	}
	return out.String()
}
