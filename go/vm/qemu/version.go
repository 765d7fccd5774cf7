package qemu

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// Version returns the version that a QEMU prints, as in "7.2.22 (Debian
// 1:7.2+dfsg-7)".
func Version(program string) (string, error) {
	out, err := exec.Command(program, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", program, err)
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	return strings.TrimPrefix(string(line), "QEMU emulator version "), nil
}

// MapsReadOnly reports whether a version of QEMU can map a file privately that it may only
// read: those since 8.2.
func MapsReadOnly(version string) bool {
	var major, minor int
	fmt.Sscanf(version, "%d.%d", &major, &minor)
	return major > 8 || major == 8 && minor >= 2
}

// HostCPU describes the host's first processor, which a guest sees with kvm: its model,
// and a digest of its features.
func HostCPU() (string, error) { return thisHost().cpu() }

func (h host) cpu() (string, error) {
	b, err := os.ReadFile(h.cpuinfo)
	if err != nil {
		return "", fmt.Errorf("the host's processor: %w", err)
	}
	first, _, _ := strings.Cut(string(b), "\n\n")
	model, digest := "", sha256.New()
	for line := range strings.Lines(first) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name":
			model = strings.TrimSpace(value)
		case "vendor_id", "cpu family", "model", "stepping", "microcode", "flags", "Features", "CPU implementer", "CPU part", "CPU revision":
			io.WriteString(digest, line)
		}
	}
	return strings.TrimSpace(fmt.Sprintf("%s %x", model, digest.Sum(nil)[:4])), nil
}
