package qemu

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
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

// Build identifies the build of a QEMU: "build ID " and the ELF build ID of the program, or
// "SHA-256 " and the digest of the file if it does not have one. A script that starts QEMU
// does not: the second form says nothing about the QEMU that it starts.
func Build(program string) (string, error) {
	if id := buildID(program); id != nil {
		return fmt.Sprintf("build ID %x", id), nil
	}
	f, err := os.Open(program)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("SHA-256 %x", h.Sum(nil)), nil
}

// HasBuildID reports whether a result of Build stands for a QEMU of one version.
func HasBuildID(build string) bool { return strings.HasPrefix(build, "build ID ") }

// buildID returns the build ID of an ELF file, nil if it does not have one.
func buildID(program string) []byte {
	f, err := elf.Open(program)
	if err != nil {
		return nil
	}
	defer f.Close()
	section := f.Section(".note.gnu.build-id")
	if section == nil {
		return nil
	}
	// The lengths of the name and of the ID, a type, the name "GNU" and the ID.
	note, err := section.Data()
	const header = 16
	if err != nil || len(note) <= header {
		return nil
	}
	if length := int(f.ByteOrder.Uint32(note[4:])); length <= len(note)-header {
		return note[header : header+length]
	}
	return nil
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
