// Package accel chooses what runs a guest's processors.
package accel

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
)

// architectures are QEMU's names by Go's.
var architectures = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

// A Host is what the machine says about itself.
type Host struct {
	Arch    string // by QEMU's name
	CPUInfo string // path of /proc/cpuinfo
	KVM     string // path of /dev/kvm
}

// ThisHost returns the machine that this runs on.
func ThisHost() Host {
	return Host{Arch: architectures[runtime.GOARCH], CPUInfo: "/proc/cpuinfo", KVM: "/dev/kvm"}
}

// Choose returns kvm or tcg for a guest of an architecture. With want "auto" it
// is kvm where that can be expected to work; with "kvm" it is an error if not
// even the device can be opened.
func (h Host) Choose(want, arch string) (string, error) {
	switch want {
	case "tcg":
		return "tcg", nil
	case "kvm":
		if err := h.openable(arch); err != nil {
			return "", fmt.Errorf("accel is kvm, which is not usable here: %w", err)
		}
		return "kvm", nil
	case "auto":
		if h.openable(arch) != nil || !h.virtualizes() {
			return "tcg", nil
		}
		return "kvm", nil
	}
	return "", fmt.Errorf("accel = %q is not allowed, allowed are auto, kvm and tcg", want)
}

func (h Host) openable(arch string) error {
	if h.Arch != arch {
		return fmt.Errorf("the guest is %s, the machine is %s", arch, h.Arch)
	}
	f, err := os.OpenFile(h.KVM, os.O_RDWR, 0)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("there is no %s (a sandbox needs --sandbox_add_mount_pair=/dev/kvm)", h.KVM)
		}
		return err
	}
	return f.Close()
}

// virtualizes reports whether the processor does. A virtual machine may have
// /dev/kvm without it, and there guests are slower than under TCG, or die.
func (h Host) virtualizes() bool {
	if h.Arch != "x86_64" {
		return true // /proc/cpuinfo does not say
	}
	info, _ := os.ReadFile(h.CPUInfo)
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
