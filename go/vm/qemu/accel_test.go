package qemu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	physical        = "processor : 0\nflags : fpu vme vmx sse\n"
	paravirtualized = "processor : 0\nmodel name : vmx svm\nflags : fpu vme sse\n"
)

func TestChoose(t *testing.T) {
	for _, test := range []struct {
		name, want, host, guest, cpuinfo string
		kvm                              bool
		accelerator, message             string
	}{
		{"auto with all", "auto", "x86_64", "x86_64", physical, true, "kvm", ""},
		{"auto on AMD", "auto", "x86_64", "x86_64", "flags\t: svm\n", true, "kvm", ""},
		{"auto without vmx and svm", "auto", "x86_64", "x86_64", paravirtualized, true, "tcg", ""},
		{"auto without the device", "auto", "x86_64", "x86_64", physical, false, "tcg", ""},
		{"auto for another architecture", "auto", "x86_64", "aarch64", physical, true, "tcg", ""},
		{"auto on arm", "auto", "aarch64", "aarch64", "", true, "kvm", ""},
		{"tcg with all", "tcg", "x86_64", "x86_64", physical, true, "tcg", ""},
		{"kvm with all", "kvm", "x86_64", "x86_64", physical, true, "kvm", ""},
		{"kvm without vmx and svm", "kvm", "x86_64", "x86_64", paravirtualized, true, "kvm", ""},
		{"kvm without the device", "kvm", "x86_64", "x86_64", physical, false, "", `accel = "kvm" cannot be used here: `},
		{"kvm for another architecture", "kvm", "x86_64", "aarch64", physical, true, "", "the guest is aarch64, the host is x86_64"},
		{"another", "hvf", "x86_64", "x86_64", physical, true, "", `accel = "hvf" is not supported; use auto, kvm or tcg`},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			h := host{arch: test.host, cpuinfo: filepath.Join(dir, "cpuinfo"), kvm: filepath.Join(dir, "kvm")}
			files := map[string]string{h.cpuinfo: test.cpuinfo}
			if test.kvm {
				files[h.kvm] = ""
			}
			for path, text := range files {
				if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			accelerator, err := h.choose(test.want, test.guest)
			if accelerator != test.accelerator {
				t.Errorf("it is %q, want %q", accelerator, test.accelerator)
			}
			if (err != nil) != (test.message != "") || err != nil && !strings.Contains(err.Error(), test.message) {
				t.Errorf("the error is %v, want %q", err, test.message)
			}
		})
	}
}
