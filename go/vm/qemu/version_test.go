package qemu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMapsReadOnly(t *testing.T) {
	for version, want := range map[string]bool{
		"7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b2)": false,
		"8.1.5":                                 false,
		"8.2.0":                                 true,
		"10.0.2 (Debian 1:10.0.2+ds-2)":         true,
		"11.1.2 (Debian 1:11.1.2+ds-3)":         true,
		"a version that nobody has made so far": false,
	} {
		if got := MapsReadOnly(version); got != want {
			t.Errorf("QEMU %s maps read-only files privately: got %v, want %v", version, got, want)
		}
	}
}

// Under KVM the guest sees the host's processor. What changes from second to second is
// not a part of it.
func TestHostCPU(t *testing.T) {
	const cpuinfo = `processor	: 0
vendor_id	: GenuineIntel
cpu family	: 6
model		: 106
model name	: Intel(R) Xeon(R) Platinum
stepping	: 6
microcode	: 0xd0003a5
cpu MHz		: 2900.000
flags		: fpu vme vmx avx512f

processor	: 1
`
	describe := func(text string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "cpuinfo")
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		cpu, err := host{cpuinfo: path}.cpu()
		if err != nil {
			t.Fatal(err)
		}
		return cpu
	}
	cpu := describe(cpuinfo)
	if !strings.HasPrefix(cpu, "Intel(R) Xeon(R) Platinum ") {
		t.Errorf("got %q, want the model's name first", cpu)
	}
	if other := describe(strings.Replace(cpuinfo, "2900.000", "1234.567", 1)); other != cpu {
		t.Errorf("got %q at another clock rate, want %q", other, cpu)
	}
	for _, change := range [][2]string{{" avx512f", ""}, {"stepping	: 6", "stepping	: 7"}, {"0xd0003a5", "0xd0003a6"}, {"GenuineIntel", "AuthenticAMD"}} {
		if other := describe(strings.Replace(cpuinfo, change[0], change[1], 1)); other == cpu {
			t.Errorf("got the same for a processor with %q instead of %q", change[1], change[0])
		}
	}
}
