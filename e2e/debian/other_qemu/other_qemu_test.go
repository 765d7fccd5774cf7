// Package other_qemu_test saves a machine with one QEMU and resumes it with another.
package other_qemu_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/go/vm/qemu"
)

// load returns the machine of a target.
func load(t *testing.T, variable string) *machine.Config {
	t.Helper()
	path := locate(t, variable)
	r, err := runfiles.New()
	if err != nil {
		t.Fatal(err)
	}
	c, err := machine.Read(path, r.Rlocation)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func locate(t *testing.T, variable string) string {
	t.Helper()
	path, err := runfiles.Rlocation(os.Getenv(variable))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// version returns the version of a QEMU.
func version(t *testing.T, program string) string {
	t.Helper()
	v, err := qemu.Version(program)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// refused checks that a machine does not start, and that the error names both QEMUs.
func refused(t *testing.T, c *machine.Config, saved, here string) {
	t.Helper()
	m, err := vm.Start(t.Context(), c, vm.Options{Dir: t.TempDir(), Agent: true})
	if err == nil {
		m.Close()
		t.Fatal("the machine resumed")
	}
	if text := err.Error(); !strings.Contains(text, `QEMU was "`+saved) || !strings.Contains(text, `and is "`+here) {
		t.Errorf("the error does not name QEMU %s and %s: %v", saved, here, err)
	}
}

// A snapshot of a newer QEMU.
func TestOlderQEMU(t *testing.T) {
	c := load(t, "BOOTED")
	newer := version(t, c.QEMU)
	c.QEMU = locate(t, "QEMU7")
	refused(t, c, newer, "7.2.")
}

// QEMU 7.2 boots, saves and resumes machines. It cannot map the RAM of a saved machine that
// others use too, so that each gets a copy. A newer QEMU refuses what it has saved.
func TestQEMU7(t *testing.T) {
	c := load(t, "VM")
	newer := c.QEMU
	c.QEMU = locate(t, "QEMU7")
	m, err := vm.Start(t.Context(), c, vm.Options{Dir: t.TempDir(), Agent: true, Saveable: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.WriteFile(t.Context(), "/saved", []byte("saved"), 0o600); err != nil {
		t.Fatal(m.Report(err))
	}
	s, err := m.Freeze(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	dir := t.TempDir()
	files := &machine.Snapshot{
		RAM: filepath.Join(dir, "ram"), State: filepath.Join(dir, "state"), Layers: m.Layers(),
		UEFIVars: filepath.Join(dir, "vars"), Fingerprint: filepath.Join(dir, "fingerprint.json"),
	}
	if err := s.Export(files); err != nil {
		t.Fatal(err)
	}
	exported := *c
	exported.Snapshot = files
	seen := map[string]bool{}
	for range 2 {
		fork := resume(t, s.Start)
		seen[fork.uuid] = true
		resumed := resume(t, func(ctx context.Context, o vm.Options) (*vm.Machine, error) { return vm.Start(ctx, &exported, o) })
		seen[resumed.uuid] = true
		if want := "the snapshot's RAM was copied, because QEMU 7.2."; !strings.Contains(resumed.log, want) {
			t.Errorf("qemu.log does not say %q: %s", want, resumed.log)
		}
	}
	if len(seen) != 4 {
		t.Errorf("four machines drew %d random numbers", len(seen))
	}

	exported.QEMU = newer
	refused(t, &exported, "7.2.", version(t, newer))
}

// resumed is what a machine has that resumed.
type resumed struct{ uuid, log string }

// resume resumes a machine, which must have the saved file and must not share its disk.
func resume(t *testing.T, start func(context.Context, vm.Options) (*vm.Machine, error)) (r resumed) {
	t.Helper()
	logs := t.TempDir()
	m, err := start(t.Context(), vm.Options{Dir: t.TempDir(), Agent: true, Logs: logs})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for path, want := range map[string]string{"/saved": "saved", "/dev/vda": "\x00"} {
		if got, err := m.ReadFile(t.Context(), path); err != nil || !strings.HasPrefix(string(got), want) {
			t.Errorf("%s does not begin with %q: %v", path, want, err)
		}
	}
	if err := m.WriteFile(t.Context(), "/dev/vda", []byte("mine"), 0o600); err != nil {
		t.Error(err)
	}
	uuid, err := m.ReadFile(t.Context(), "/proc/sys/kernel/random/uuid")
	if err != nil {
		t.Error(err)
	}
	log, err := os.ReadFile(filepath.Join(logs, "qemu.log"))
	if err != nil {
		t.Error(err)
	}
	return resumed{string(uuid), string(log)}
}
