package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
)

// architectures maps Go's names of architectures to QEMU's.
var architectures = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

// A host has the properties that a machine's accelerator depends on.
type host struct {
	arch    string // QEMU's name
	cpuinfo string // path of /proc/cpuinfo
	kvm     string // path of /dev/kvm
}

func thisHost() host {
	return host{arch: architectures[runtime.GOARCH], cpuinfo: "/proc/cpuinfo", kvm: "/dev/kvm"}
}

// Accelerator returns kvm or tcg for a guest of an architecture (QEMU's name) on this
// host. want is auto, kvm or tcg. With auto it is kvm if that can be expected to work; with
// kvm it is an error if the device cannot be opened.
func Accelerator(want, arch string) (string, error) { return thisHost().choose(want, arch) }

func (h host) choose(want, arch string) (string, error) {
	switch want {
	case "tcg":
		return "tcg", nil
	case "kvm":
		if err := h.openable(arch); err != nil {
			return "", fmt.Errorf("accel = \"kvm\" cannot be used here: %w", err)
		}
		return "kvm", nil
	case "auto":
		if h.openable(arch) != nil || !h.virtualizes() {
			return "tcg", nil
		}
		return "kvm", nil
	}
	return "", fmt.Errorf("accel = %q is not supported; use auto, kvm or tcg", want)
}

func (h host) openable(arch string) error {
	if h.arch != arch {
		return fmt.Errorf("the guest is %s, the host is %s", arch, h.arch)
	}
	f, err := os.OpenFile(h.kvm, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s does not exist (a sandbox needs --sandbox_add_mount_pair=/dev/kvm)", h.kvm)
	} else if err != nil {
		return err
	}
	return f.Close()
}

// virtualizes reports whether the processor has vmx or svm. A virtual machine
// can have /dev/kvm without them; guests under it are slower than under TCG or
// crash.
func (h host) virtualizes() bool {
	if h.arch != "x86_64" {
		return true // /proc/cpuinfo does not tell
	}
	info, _ := os.ReadFile(h.cpuinfo)
	for _, line := range bytes.Split(info, []byte("\n")) {
		if !bytes.HasPrefix(line, []byte("flags")) {
			continue
		}
		for _, flag := range bytes.Fields(line) {
			if string(flag) == "vmx" || string(flag) == "svm" {
				return true
			}
		}
	}
	return false
}
