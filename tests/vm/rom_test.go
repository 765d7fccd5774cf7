package vm_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm/qemu"
)

// A romQEMU is a QEMU whose guest never runs.
type romQEMU struct {
	*qemu.Process
	stderr syncBuffer
	resets chan struct{}
}

// startROM starts QEMU with a graphics adapter and its RAM in a file. QEMU looks for ROM
// files in the folder first.
func startROM(t *testing.T, program, folder, ram string, args ...string) *romQEMU {
	t.Helper()
	args = append([]string{
		"-L", folder, "-accel", "tcg", "-nodefaults", "-no-user-config", "-display", "none", "-m", "32M",
		"-object", "memory-backend-file,id=ram,size=32M,share=on,mem-path=" + ram, "-machine", "q35,memory-backend=ram",
		"-device", "VGA,addr=1",
	}, args...)
	q := &romQEMU{resets: make(chan struct{}, 1)}
	p, err := qemu.Start(&qemu.Command{Program: program, Args: args, Env: os.Environ(), OnEvent: func(e qemu.Event) {
		if e.Name == "RESET" {
			q.resets <- struct{}{}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	q.Process = p
	read := make(chan struct{})
	go func() {
		io.Copy(&q.stderr, p.Stderr)
		close(read)
	}()
	go io.Copy(io.Discard, p.Stdout)
	t.Cleanup(func() {
		p.Kill()
		<-p.Exited()
		<-read
		p.Close()
	})
	if _, err := p.Monitor.Execute(t.Context(), "qmp_capabilities", nil); err != nil {
		t.Fatalf("%v: %s", err, q.stderr.String())
	}
	return q
}

// hmp runs commands of QEMU's monitor for humans, and returns the output of the last.
func (q *romQEMU) hmp(t *testing.T, commands ...string) string {
	t.Helper()
	var output string
	for _, command := range commands {
		answer, err := q.Monitor.Execute(t.Context(), "human-monitor-command", map[string]any{"command-line": command})
		if err == nil {
			err = json.Unmarshal(answer, &output)
		}
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
	}
	return output
}

// vgaROM returns the last bytes of the ROM of the graphics adapter. It maps the ROM at
// 0xe0000000 by the adapter's PCI configuration, as firmware does.
func (q *romQEMU) vgaROM(t *testing.T, size int) string {
	return q.hmp(t, "o/4 0xcf8 0x80000830", "o/4 0xcfc 0xe0000001", "o/4 0xcf8 0x80000804", "o/2 0xcfc 2",
		fmt.Sprintf("xp/8xb %#x", 0xe0000000+size-8))
}

// bios returns the first bytes of the BIOS that ends at 4 GiB.
func (q *romQEMU) bios(t *testing.T, size int) string {
	return q.hmp(t, fmt.Sprintf("xp/8xb %#x", 1<<32-size))
}

// dataFile returns the content of a file of QEMU's.
func dataFile(t *testing.T, program, name string) []byte {
	t.Helper()
	out, err := exec.Command(program, "-L", "help").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range strings.Fields(string(out)) {
		if b, err := os.ReadFile(filepath.Join(folder, name)); err == nil {
			return b
		}
	}
	t.Fatalf("%s is not in any folder of %q", name, out)
	return nil
}

// A machine that resumes has the ROMs that it was saved with, whatever files QEMU finds.
// So the fingerprint does not need their digests. QEMU refuses a file that needs a
// ROM of another size.
func TestROMsAreSaved(t *testing.T) {
	t.Parallel()
	program, err := runfiles.Rlocation("qemu/qemu-system-x86_64")
	if err != nil {
		t.Fatal(err)
	}
	const vgaName, biosName = "vgabios-stdvga.bin", "bios-256k.bin"
	vga, bios := dataFile(t, program, vgaName), dataFile(t, program, biosName)
	// The bytes that the test reads are different in the other files.
	otherVGA, otherBIOS := bytes.Clone(vga), bytes.Clone(bios)
	copy(otherVGA[len(vga)-8:], "another!")
	copy(otherBIOS, "another!")

	folder := t.TempDir()
	write := func(name string, content []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	ram, state := filepath.Join(dir, "ram"), filepath.Join(dir, "state")
	saved := startROM(t, program, folder, ram)
	wantVGA, wantBIOS := saved.vgaROM(t, len(vga)), saved.bios(t, len(bios))
	if err := saved.Monitor.SaveState(t.Context(), state); err != nil {
		t.Fatal(err)
	}

	write(vgaName, otherVGA)
	write(biosName, otherBIOS)
	if boots := startROM(t, program, folder, ram); boots.vgaROM(t, len(vga)) == wantVGA || boots.bios(t, len(bios)) == wantBIOS {
		t.Error("a machine that boots has the old ROMs")
	}
	resumed := startROM(t, program, folder, ram, "-incoming", "defer")
	if err := resumed.Monitor.LoadState(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	if got := resumed.vgaROM(t, len(vga)); got != wantVGA {
		t.Errorf("the ROM of the graphics adapter has %q, want %q", got, wantVGA)
	}
	if got := resumed.bios(t, len(bios)); got != wantBIOS {
		t.Errorf("the BIOS has %q, want %q", got, wantBIOS)
	}
	// QEMU fills ROMs in at a reset.
	if _, err := resumed.Monitor.Execute(t.Context(), "system_reset", nil); err != nil {
		t.Fatal(err)
	}
	<-resumed.resets
	if got := resumed.bios(t, len(bios)); got != wantBIOS {
		t.Errorf("after a reset, the BIOS has %q, want %q", got, wantBIOS)
	}

	for _, test := range []struct {
		name    string
		content []byte
		want    string
	}{
		{vgaName, append(otherVGA, vga...), "vga.rom: 0x10000 != 0x20000"},
		{biosName, otherBIOS[len(bios)/2:], "pc.bios: 0x40000 != 0x20000"},
	} {
		write(vgaName, otherVGA)
		write(biosName, otherBIOS)
		write(test.name, test.content)
		q := startROM(t, program, folder, ram, "-incoming", "defer")
		if err := q.Monitor.LoadState(t.Context(), state); err == nil {
			t.Errorf("%s: QEMU accepts another size", test.name)
			continue
		}
		<-q.Exited()
		eventually(t, "an error about the size of "+test.name, func() bool { return strings.Contains(q.stderr.String(), test.want) })
	}
}
